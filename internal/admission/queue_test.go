package admission

import (
	"container/heap"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

const (
	ms = int64(time.Millisecond)
	s  = int64(time.Second)
)

// client is one of a simulation.
type client struct {
	came    int64 // when it began to connect
	leaves  int64 // when it gives up
	try     int64 // when it connects next, if the backlog was full
	tries   int
	entered int64 // the queue
}

type tries []*client

func (t tries) Len() int           { return len(t) }
func (t tries) Less(i, j int) bool { return t[i].try < t[j].try }
func (t tries) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }
func (t *tries) Push(x any)        { *t = append(*t, x.(*client)) }
func (t *tries) Pop() any {
	x := (*t)[len(*t)-1]
	*t = (*t)[:len(*t)-1]
	return x
}

// sim is a server with one queue in front, which the kernel keeps, and its
// clients. The kernel drops a SYN when the queue is full, and the client sends it
// again after 1, 3 and 7 seconds.
type sim struct {
	service  int64                 // nanoseconds
	patience int64                 // of each client
	rate     func(t int64) float64 // arrivals a second
	until    int64
	backlog  int

	served, late, shed, gone int
	waits                    []int64 // of the served, from their first try
	from                     int64   // what came before is not counted
}

const cheap = 8 * 1000 // what it costs to accept a connection and to reset it

func (m *sim) run() {
	rnd := rand.New(rand.NewPCG(1, 2))
	q := New(100 * time.Millisecond)
	var waiting tries
	var queue []*client
	next := int64(0)
	backlog := m.backlog
	arrive := func(now int64) {
		for {
			var c *client
			if next <= now && next < m.until && (len(waiting) == 0 || next <= waiting[0].try) {
				c = &client{came: next, try: next, leaves: next + m.patience}
				if r := m.rate(next); r > 0 {
					next += int64(rnd.ExpFloat64() / r * 1e9)
				} else {
					next += 10 * ms
					continue
				}
			} else if len(waiting) > 0 && waiting[0].try <= now {
				c = heap.Pop(&waiting).(*client)
			} else {
				return
			}
			if c.try > c.leaves {
				continue
			}
			if len(queue) > backlog {
				c.tries++
				c.try += s<<(c.tries-1) + rnd.Int64N(32*ms)
				heap.Push(&waiting, c)
				continue
			}
			c.entered = c.try
			queue = append(queue, c)
		}
	}
	for now := int64(0); now < m.until+2*m.patience; {
		arrive(now)
		if q.Due(now) {
			q.Next(now, len(queue))
			if backlog = m.backlog; q.Limit() > 0 {
				backlog = min(q.Limit(), backlog)
			}
		}
		if len(queue) == 0 {
			q.Empty()
			now += ms / 10
			continue
		}
		c := queue[0]
		queue = queue[1:]
		wait := now - c.entered
		switch {
		case c.leaves < now:
			q.Gone(wait)
			m.count(c, &m.gone)
			now += cheap
		case !q.Leave(wait):
			m.count(c, &m.shed)
			now += cheap
		default:
			now += m.service
			if now > c.leaves {
				m.count(c, &m.late)
			} else {
				m.count(c, &m.served)
				if c.came >= m.from {
					m.waits = append(m.waits, now-c.came)
				}
			}
		}
	}
	slices.Sort(m.waits)
}

func (m *sim) count(c *client, n *int) {
	if c.came >= m.from {
		*n++
	}
}

func (m *sim) quantile(p float64) time.Duration {
	if len(m.waits) == 0 {
		return 0
	}
	return time.Duration(m.waits[int(p*float64(len(m.waits)-1))])
}

func steady(r float64) func(int64) float64 { return func(int64) float64 { return r } }

// share is what part of its capacity the server gave to clients who were still
// there.
func (m *sim) share(capacity float64) float64 {
	return float64(m.served) / (capacity * float64(m.until-m.from) / 1e9)
}

// Whatever the load, and however long clients wait: nearly all of the capacity
// is used for clients who are still there, and they do not wait long.
func TestOverload(t *testing.T) {
	const capacity = 1000.0
	for _, patience := range []int64{500 * ms, s, 2 * s, 4 * s} {
		for _, load := range []struct{ load, share float64 }{{1.5, 0.98}, {2, 0.97}, {5, 0.94}, {10, 0.93}} {
			m := sim{service: 1e9 / capacity, patience: patience, rate: steady(load.load * capacity), from: 10 * s, until: 40 * s, backlog: 4096}
			m.run()
			t.Logf("patience %v, load %v: served %.3f, p50 %v, p99 %v, late %d, turned away %d, gone %d", time.Duration(patience), load.load, m.share(capacity),
				m.quantile(0.5).Round(time.Millisecond), m.quantile(0.99).Round(time.Millisecond), m.late, m.shed, m.gone)
			if got := m.share(capacity); got < load.share {
				t.Errorf("patience %v, load %v: %.3f of the capacity was used, want %v", time.Duration(patience), load.load, got, load.share)
			}
			// More cannot be turned away, SYNs are dropped, and who waits for seconds
			// has more tries.
			if dropped := load.load*capacity-capacity > turnedAway; !dropped && m.quantile(0.5) > 150*time.Millisecond {
				t.Errorf("patience %v, load %v: half of the served have waited for more than %v", time.Duration(patience), load.load, m.quantile(0.5))
			}
		}
	}
}

// That proof is wanted again now and then costs little.
func TestLongOverload(t *testing.T) {
	for _, patience := range []int64{500 * ms, 2 * s} {
		m := sim{service: ms, patience: patience, rate: steady(5000), from: 10 * s, until: 200 * s, backlog: 4096}
		m.run()
		t.Logf("patience %v: served %.3f, p50 %v, p99 %v, late %d", time.Duration(patience), m.share(1000), m.quantile(0.5), m.quantile(0.99), m.late)
		if got := m.share(1000); got < 0.94 {
			t.Errorf("patience %v: %.3f of the capacity was used", time.Duration(patience), got)
		}
	}
}

// Below its capacity a server turns nobody away.
func TestNoOverload(t *testing.T) {
	for _, load := range []float64{0.1, 0.5, 0.9, 0.97} {
		m := sim{service: ms, patience: 2 * s, rate: steady(load * 1000), until: 60 * s, backlog: 4096}
		m.run()
		if m.shed+m.gone+m.late > 0 {
			t.Errorf("load %v: %d turned away, %d gone, %d served too late", load, m.shed, m.gone, m.late)
		}
	}
}

// Many who come at once are all served, if they are patient.
func TestBurst(t *testing.T) {
	const clients = 5000
	m := sim{service: ms, patience: 60 * s, until: s, backlog: 4096, rate: func(now int64) float64 {
		if now < s/2 {
			return 2 * clients
		}
		return 0
	}}
	m.run()
	if m.shed+m.gone+m.late > 0 || m.served < clients*9/10 {
		t.Errorf("%d served, %d turned away, %d gone, %d too late", m.served, m.shed, m.gone, m.late)
	}
}

// When the load is less again, so are waits, at once.
func TestRecovery(t *testing.T) {
	load := func(now int64) float64 {
		if now > 10*s && now < 15*s {
			return 5000
		}
		return 500
	}
	m := sim{service: ms, patience: 2 * s, until: 30 * s, backlog: 4096, rate: load, from: 16 * s}
	m.run()
	// Those whose SYN was dropped come again meanwhile.
	if m.shed+m.gone+m.late > 0 || m.quantile(0.9) > 20*time.Millisecond {
		t.Errorf("a second after the overload: %d turned away, %d gone, %d too late, nine in ten served within %v", m.shed, m.gone, m.late, m.quantile(0.9))
	}
}

// Clients who wait long but do not give up, because each begins anew when it has
// been served, are not turned away.
func TestPatientClients(t *testing.T) {
	q := New(100 * time.Millisecond)
	const clients = 300
	for now := int64(0); now < 60*s; now += ms {
		if q.Due(now) {
			q.Next(now, clients)
		}
		if !q.Leave(clients * ms) {
			t.Fatalf("turned away after %v", time.Duration(now))
		}
	}
}

// overloaded returns the record of a queue that turns clients away, and when.
func overloaded(t *testing.T) (*Queue, int64) {
	t.Helper()
	q := New(100 * time.Millisecond)
	now := int64(0)
	for range 10 {
		for range 100 {
			q.Leave(s)
			q.Gone(s)
		}
		now += 200 * ms
		q.Next(now, 1000)
	}
	if !q.Over() || q.Limit() == 0 || q.Leave(s) || !q.Leave(50*ms) {
		t.Fatal("nobody is turned away, though clients give up")
	}
	return q, now
}

// A queue that nobody comes to any more is as good as new, and so is one whose
// interval has ended long ago.
func TestOverloadEnds(t *testing.T) {
	for _, after := range []int64{200 * ms, 3600 * s} {
		q, now := overloaded(t)
		for range enough {
			now += 200 * ms
			q.Next(now, 0)
			q.Empty()
		}
		q.Next(now+after, 0)
		if q.Over() || q.Limit() != 0 || !q.Leave(s) {
			t.Errorf("still over after %v", time.Duration(after))
		}
	}
}

// Health checks, which connect and close, do not keep it up.
func TestOverloadEndsInSpiteOfChecks(t *testing.T) {
	for _, served := range []int{0, 5} {
		q, now := overloaded(t)
		for range 1700 {
			q.Leave(s)
		}
		for range 90 {
			q.Leave(90 * ms)
		}
		for range enough + 2 {
			now += 200 * ms
			q.Next(now, 0)
			for range served {
				q.Leave(0)
			}
			q.Gone(0)
			q.Empty()
		}
		if q.Over() {
			t.Errorf("over, with %d clients served in an interval and a check", served)
		}
	}
}

// Patient clients who are turned away come again at once, as many as before. That
// is taken for overload, but not for ever.
func TestPatientClientsAfterOverload(t *testing.T) {
	q, now := overloaded(t)
	var queue []int64
	for range 300 {
		queue = append(queue, now)
	}
	last := now // when somebody was turned away
	for end := now + 120*s; now < end; {
		if q.Due(now) {
			q.Next(now, len(queue))
		}
		came := queue[0]
		if q.Leave(now - came) {
			now += ms
		} else {
			last = now
			now += cheap
		}
		queue = append(queue[1:], now)
		if now > end-30*s && last > end-30*s {
			t.Fatal("patient clients are turned away for ever")
		}
	}
}

// What is looked at only turns nobody away.
func TestNegativeWait(t *testing.T) {
	q := New(-1)
	for now := int64(0); now < 10*s; now += 200 * ms {
		for range 100 {
			if !q.Leave(s) {
				t.Fatal("turned away")
			}
			q.Gone(s)
		}
		q.Next(now, 1000)
	}
}

func TestExtremeWaits(t *testing.T) {
	if New(1<<63 - 1).Due(s) {
		t.Error("an interval of years is over after a second")
	}
	q := New(time.Microsecond)
	for now := int64(1000); now < 20_000; now += 2000 {
		for range 10 {
			q.Leave(s)
			q.Gone(s)
		}
		q.Next(now, 1000)
	}
	if !q.Over() || q.Limit() < 1 {
		t.Errorf("over %t, limit %d", q.Over(), q.Limit())
	}
}
