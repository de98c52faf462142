package loop_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// The scripts of TestEqual: what is done on the two ends of a connection, one
// step after the other. A small model of a connection knows, when a script is
// made, which steps are answered at once, which wait, and what ends a wait. What
// the answers are it need not know: package net tells.

// family is what the two ends speak.
type family int

const (
	familyTCP family = iota
	familyUnix
	familyTLS12
	familyTLS13
)

var familyNames = []string{"tcp", "unix", "TLS 1.2", "TLS 1.3"}

func (f family) String() string { return familyNames[f] }

func (f family) tls() bool { return f >= familyTLS12 }

// scriptOp is what a step does.
type scriptOp int

const (
	opWrite    scriptOp = iota // n bytes, which the socket takes, or refuses, at once
	opWriteBig                 // n bytes, more than the buffers take: it waits
	opRead                     // n bytes, which are there
	opReadOnce                 // one Read, which has something to tell
	opReadWait                 // one Read, which waits
	opDrain                    // reads until there is an error
	opDeadline                 // sets the deadlines of sides, as what says
	opCloseWrite
	opCloseRead
	opClose
	opReset // a Close that resets the connection
)

// step is one step of a script.
type step struct {
	end   int // whose
	op    scriptOp
	n     int    // bytes
	sides string // of a deadline: "read", "write", "both"
	what  string // the deadline: "none", "past", "far", "soon"
	vague bool   // how many bytes it moves is not determined
	whole bool   // what it drains is all that was written
	ends  []wait // what has waited, and ends with this step
}

// wait is a Read or a big Write that waits.
type wait struct {
	end   int
	write bool
	vague bool // how many bytes it has moved is not determined
	any   bool // nor is its error
}

func (s step) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "end %d: ", s.end)
	switch s.op {
	case opWrite:
		fmt.Fprintf(&b, "write %d", s.n)
	case opWriteBig:
		fmt.Fprintf(&b, "write %d, and wait", s.n)
	case opRead:
		fmt.Fprintf(&b, "read %d", s.n)
	case opReadOnce:
		fmt.Fprintf(&b, "read up to %d", s.n)
	case opReadWait:
		fmt.Fprintf(&b, "read up to %d, and wait", s.n)
	case opDrain:
		b.WriteString("read until an error")
	case opDeadline:
		fmt.Fprintf(&b, "deadline for %s: %s", s.sides, s.what)
	case opCloseWrite:
		b.WriteString("CloseWrite")
	case opCloseRead:
		b.WriteString("CloseRead")
	case opClose:
		b.WriteString("Close")
	case opReset:
		b.WriteString("SetLinger(0), Close")
	}
	return b.String()
}

// script is a list of steps, and how the connection is to be made.
type script struct {
	family
	seed      uint64
	steps     []step
	big       [2]bool // the end makes a write that is to fill the buffers
	dials     int     // the end that dials
	tlsClient int     // the end that is TLS's client
	oneLoop   bool    // if both ends belong to loops, to the same one
	loopFirst int     // which of two loops end 0, or the only one, belongs to
}

const (
	scriptRead = 16      // what a single Read asks for
	scriptBig  = 1 << 20 // more than the buffers of both ends take
	// scriptUnread is how much is left unread at most: what is written above
	// that might have to wait.
	scriptUnread = 24 << 10
	scriptRecord = 1000 // less than crypto/tls's first records hold
)

// endModel is what the model knows of an end.
type endModel struct {
	closed         bool
	rdShut, wrShut bool
	rdPast, wrPast bool // deadlines
	unread         int  // bytes that can be read
	vague          bool // how many these are is not known
	end            bool // behind them comes the end, or an error
	reset          bool // the error of a reset
	full           bool // a big write has been cut short: the buffers are full
	broken         bool // TLS: so has a record
	reads, writes  bool // a Read or a Write waits
	mayFail        bool // it may learn of a reset
}

type scriptMaker struct {
	family
	r     *rand.Rand
	e     [2]endModel
	steps []step
	big   [2]bool
	over  bool // what follows is not determined
	loose bool // nor is what a wait ends with
}

// newScript makes the script that belongs to a seed.
func newScript(f family, seed uint64) script {
	r := rand.New(rand.NewPCG(seed, uint64(f)))
	m := &scriptMaker{family: f, r: r}
	sc := script{family: f, seed: seed, dials: r.IntN(2), tlsClient: r.IntN(2), oneLoop: r.IntN(2) == 0, loopFirst: r.IntN(2)}
	for n := 4 + r.IntN(9); len(m.steps) < n && !m.over; {
		m.try(m.anyStep())
	}
	if r.IntN(2) == 0 && !m.over { // what has been written arrives
		e := r.IntN(2)
		m.try(step{end: e, op: opClose})
		m.try(step{end: 1 - e, op: opDrain})
	}
	m.loose = m.over
	for try := 0; m.waiting(); try++ { // whatever it is, it ends
		if try > 100 {
			panic(fmt.Sprintf("%v, seed %d: a wait without an end", f, seed))
		}
		m.over = false
		m.try(step{end: r.IntN(2), op: opClose})
	}
	sc.steps, sc.big = m.steps, m.big
	// The job that serves an accepted connection is cancelled when the peer
	// resets it (see Handler): an end that may see one dials.
	for i := range m.e {
		if m.e[i].mayFail {
			sc.dials = i
		}
	}
	return sc
}

func (m *scriptMaker) waiting() bool {
	return m.e[0].reads || m.e[0].writes || m.e[1].reads || m.e[1].writes
}

// anyStep returns a step that may make no sense.
func (m *scriptMaker) anyStep() step {
	r := m.r
	s := step{end: r.IntN(2)}
	e := &m.e[s.end]
	switch n := r.IntN(100); {
	case n < 20:
		s.op, s.n = opWrite, 1+r.IntN(3000)
		if r.IntN(8) == 0 {
			s.n = 0
		}
	case n < 24:
		s.op, s.n = opWriteBig, scriptBig
	case n < 42:
		s.op, s.n = opRead, 1+r.IntN(max(1, min(e.unread, 3000)))
		if r.IntN(2) == 0 {
			s.n = e.unread
		}
	case n < 54:
		s.op, s.n = opReadWait, scriptRead
	case n < 66:
		s.op, s.n = opReadOnce, scriptRead
		if r.IntN(8) == 0 {
			s.n = 0
		}
	case n < 70:
		s.op = opDrain
	case n < 84:
		s.op = opDeadline
		s.sides = []string{"read", "write", "both"}[r.IntN(3)]
		s.what = []string{"none", "past", "past", "far", "soon"}[r.IntN(5)]
	case n < 90:
		s.op = opCloseWrite
	case n < 93:
		s.op = opCloseRead
	case n < 97:
		s.op = opClose
	default:
		s.op = opReset
	}
	return s
}

// refuses reports whether a write of end i is refused at once, whatever is in
// the buffers.
func (m *scriptMaker) refuses(i int) bool {
	e, p := &m.e[i], &m.e[1-i]
	return e.closed || e.wrPast || e.wrShut || e.broken || e.reset || m.family == familyUnix && (p.rdShut || p.closed)
}

// ended reports whether reads of end i end, after what is there.
func (m *scriptMaker) ended(i int) bool {
	e := &m.e[i]
	return e.closed || e.rdPast || e.end || e.rdShut
}

// try makes s a step of the script if it makes sense, and its result is
// determined.
func (m *scriptMaker) try(s step) {
	if m.over || !m.allowed(&s) || m.leftOut(&s) {
		return
	}
	m.apply(&s)
	m.steps = append(m.steps, s)
}

// leftOut reports whether s is something that a loop's connection does in
// another way than package net's and crypto/tls's.
func (m *scriptMaker) leftOut(s *step) bool {
	e, p := &m.e[s.end], &m.e[1-s.end]
	tls := m.family.tls()
	open := !e.closed && !p.closed
	switch {
	// On purpose.

	case s.op == opCloseWrite && tls && e.closed:
		return true // net.ErrClosed; crypto/tls says nil if the Close has sent the alert

	case s.op == opWrite && s.n == 0 && !tls && !e.closed && !e.wrPast && m.refuses(s.end):
		return true // nil; package net asks the kernel, and gets EPIPE
	case (s.op == opClose || s.op == opReset) && m.family == familyTCP && e.wrShut && p.wrShut && p.full && open:
		return true // the peer reads ECONNRESET; after a FIN, the kernel says that it is the end
	}
	return false
}

func (m *scriptMaker) allowed(s *step) bool {
	i := s.end
	e, p := &m.e[i], &m.e[1-i]
	tls := m.family.tls()
	tcp := m.family == familyTCP
	switch s.op {
	case opWrite, opWriteBig:
		if e.writes {
			return false // package net lets the second one wait
		}
		if s.n == 0 {
			return !e.full || m.refuses(i)
		}
		if m.refuses(i) {
			s.op = opWrite
			return true
		}
		if e.full {
			return false
		}
		if p.closed {
			// The answer is a reset, of a kind that depends on whether all that was
			// sent has arrived. And of two records, the kernel refuses the second.
			return s.op == opWrite && !p.full && (!tls || s.n <= scriptRecord)
		}
		if tcp && p.rdShut && p.wrShut { // Linux resets the connection: both ends fail
			return false
		}
		if s.op == opWriteBig {
			// Once the receiver's buffer has grown, it takes everything.
			return p.unread < 8<<10 && !p.vague && !m.big[i]
		}
		if tls && p.reads && s.n > scriptRecord { // what is left for the kernel is not determined
			return false
		}
		return p.unread+s.n < scriptUnread
	case opRead:
		if e.rdShut && p.writes { // what is not there yet is not waited for
			return false
		}
		return !e.reads && !e.vague && !e.closed && !e.rdPast && s.n >= 1 && s.n <= e.unread
	case opReadOnce:
		if e.reads || s.n > 0 && p.broken && !e.closed && !e.rdPast {
			return false
		}
		if s.n == 0 {
			return true
		}
		if tls && p.writes {
			return false
		}
		return e.closed || e.rdPast || m.ended(i) && e.unread == 0 && !e.vague
	case opReadWait:
		return !e.reads && e.unread == 0 && !e.vague && !m.ended(i)
	case opDrain:
		if e.reads || !m.ended(i) || p.writes {
			return false
		}
		return e.closed || e.rdPast || !p.broken && !(e.rdShut && p.full) // more may come
	case opDeadline:
		if s.what == "soon" { // ends a wait
			return !e.closed && (s.sides != "write" && e.reads || s.sides != "read" && e.writes)
		}
		return true
	case opCloseWrite:
		if tls && (e.writes || e.full && !p.closed) {
			return false // crypto/tls waits for the peer to take what is left
		}
		if tls && e.broken && p.writes { // and the peer's, to tell of the broken record
			return false
		}
		if m.family == familyUnix && e.writes { // Linux does not wake it
			return false
		}
		return !(tcp && e.rdShut && (p.writes || p.full))
	case opCloseRead:
		if m.family == familyUnix && p.writes { // as above
			return false
		}
		return !tls && !(tcp && e.wrShut && (p.writes || p.full))
	case opReset, opClose:
		if s.op == opReset && m.family == familyUnix {
			return false
		}
		if tcp && e.full && e.wrShut { // the end has been sent already, or will not be
			return false
		}
		return !tls || e.closed || e.writes || !e.full || p.closed // as above
	}
	return false
}

func (m *scriptMaker) apply(s *step) {
	i := s.end
	e, p := &m.e[i], &m.e[1-i]
	tls := m.family.tls()
	switch s.op {
	case opWrite:
		switch {
		case s.n == 0:
		case m.refuses(i) && tls && !e.closed && !e.wrShut:
			e.broken = true
			if p.closed {
				e.mayFail = true
			}
		case m.refuses(i):
		case p.closed:
			e.mayFail, e.reset, e.end = true, true, true
		default:
			p.unread += s.n
		}
	case opWriteBig:
		e.writes = true
		m.big[i] = true
		p.unread += s.n
	case opRead:
		e.unread -= s.n
	case opReadOnce:
		if s.n > 0 && tls && e.unread > 0 {
			e.vague = true // what crypto/tls has read already
		}
	case opReadWait:
		e.reads = true
	case opDrain:
		gone := e.closed || e.rdPast || e.rdShut
		s.vague = e.vague || tls && gone
		s.whole = !tls && !gone && !e.reset
		switch {
		case gone && tls && e.unread > 0:
			e.vague = true
		case gone && !e.closed && !e.rdPast && !e.vague: // it has read what was there
			e.unread = 0
		case !gone:
			e.unread, e.vague = 0, false
		}
	case opDeadline:
		past := s.what == "past" || s.what == "soon"
		if s.sides != "write" {
			e.rdPast = past
		}
		if s.sides != "read" {
			e.wrPast = past
		}
	case opCloseWrite:
		switch {
		case e.closed:
		case tls && e.broken && !p.closed: // a record too few, or half a one
			m.over = true
			e.wrShut = true
			p.end = true
		default:
			e.wrShut = true
			p.end = true
			e.mayFail = e.mayFail || tls && p.closed
		}
	case opCloseRead:
		e.rdShut = true
	case opClose, opReset:
		if e.closed {
			break
		}
		e.closed = true
		if p.closed {
			break
		}
		p.end = true
		unread := e.unread > 0 || e.vague || tls && e.end
		if unread || s.op == opReset {
			p.mayFail = true
			p.reset = !tls
		}
		if e.broken {
			m.over = true
		}
	}
	m.collect(s)
}

// collect finds the waits that step s ends.
func (m *scriptMaker) collect(s *step) {
	for i := range m.e {
		e, p := &m.e[i], &m.e[1-i]
		// Whoever comes first is told of a reset.
		race := e.reads && e.writes && p.closed && !e.closed
		m.over = m.over || race && m.family.tls()
		if e.writes {
			w := wait{end: i, write: true, vague: true, any: race || m.loose}
			switch {
			case m.refuses(i), p.closed:
				e.full = true
				e.broken = m.family.tls()
				p.vague = true
			case p.unread == 0:
				w.vague = false
			default:
				goto reads
			}
			e.writes = false
			s.ends = append(s.ends, w)
		}
	reads:
		if !e.reads || e.unread == 0 && !m.ended(i) {
			continue
		}
		e.reads = false
		if !e.closed && !e.rdPast {
			e.unread -= min(e.unread, scriptRead)
		}
		s.ends = append(s.ends, wait{end: i, any: race || m.loose || e.broken && e.closed || p.broken && !e.closed && !e.rdPast})
	}
}
