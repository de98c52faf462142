package loop_test

import (
	"context"
	"reflect"
	"sync"
	"testing"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/loop"
)

// counts returns every number in v.
func counts(v reflect.Value) []reflect.Value {
	var all []reflect.Value
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			all = append(all, counts(v.Field(i))...)
		}
	case reflect.Array:
		for i := range v.Len() {
			all = append(all, counts(v.Index(i))...)
		}
	default:
		all = append(all, v)
	}
	return all
}

// Every number takes part in Add, also those of the future.
func TestStatsAdd(t *testing.T) {
	var a, b loop.Stats
	av, bv := counts(reflect.ValueOf(&a).Elem()), counts(reflect.ValueOf(&b).Elem())
	for i := range av {
		av[i].SetUint(uint64(i + 1))
		bv[i].SetUint(uint64(100 * (i + 1)))
	}
	a.Add(b)
	for i := range av {
		if got, want := av[i].Uint(), uint64(101*(i+1)); got != want {
			t.Errorf("number %d = %d, want %d", i, got, want)
		}
		if got, want := bv[i].Uint(), uint64(100*(i+1)); got != want {
			t.Errorf("the other number %d = %d, want %d", i, got, want)
		}
	}
}

func TestStatsOfNewLoop(t *testing.T) {
	l := looptest.NewIdle(t, loop.Config{})
	if s := l.Stats(); s != (loop.Stats{}) {
		t.Errorf("a new loop has %+v", s)
	}
}

func TestStats(t *testing.T) {
	l := looptest.New(t, loop.Config{Logger: silent(), InitialJobs: 3})
	if s := looptest.Settle(t, l); s.PoolSize != 3 {
		t.Errorf("%d coroutines, want 3", s.PoolSize)
	}
	addr := looptest.Listen(t, l, echo)
	c := testkit.Dial(t, addr)
	send(t, c, "x")
	testkit.WantRead(t, c, "x")
	parked(t, l, 1)
	do(t, l, func(context.Context) error {
		if s := l.Stats(); s.JobsRunning != 1 {
			t.Errorf("inside a job: %+v", s)
		}
		panic("for the count")
	})
	s := looptest.Settle(t, l)
	if s.Accepted != 1 || s.Conns != 1 || s.JobsPanicked != 1 || s.JobsRunning != 0 || s.Turns == 0 || s.Events == 0 {
		t.Errorf("%+v", s)
	}
	c.Close()
	parked(t, l, 0)
	if got := looptest.Settle(t, l); got.Accepted != 1 || got.JobsStarted < s.JobsStarted {
		t.Errorf("totals went back: %+v after %+v", got, s)
	}
}

// Stats is for any goroutine, at any time: the race detector looks on.
func TestStatsConcurrently(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	addr := looptest.Listen(t, l, echo)
	stop := make(chan bool)
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			var last loop.Stats
			for {
				select {
				case <-stop:
					return
				default:
				}
				s := l.Stats()
				if s.Turns < last.Turns || s.JobsStarted < last.JobsStarted {
					t.Errorf("%+v after %+v", s, last)
				}
				last = s
			}
		})
	}
	for range 50 {
		wantEcho(t, addr)
	}
	close(stop)
	readers.Wait()
}
