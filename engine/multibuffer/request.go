package multibuffer

import (
	"context"
	"time"

	"github.com/jobloop/jobloop/engine/multibuffer/internal/rsax8"
	"github.com/jobloop/jobloop/jobs"
)

// request is a signature that a job or a goroutine waits for. It belongs to the
// goroutine of the batcher's loop, or is guarded by the group's lock. op belongs to
// whoever computes it.
type request struct {
	op        rsax8.Request
	ctx       context.Context // the request is void when it ends
	job       jobs.Job
	size      int // index into keySizes
	state     state
	abandoned bool                // its job left while it was being computed
	arrival   uint64              // 1 for the loop's first
	since     time.Duration       // when it arrived, on the Engine's clock
	wake      func(arg any) error // the job's callback, nil if it has none
	wakeArg   any

	woken chan struct{} // of a goroutine: has a token, which may be stale, when it must look at its state and at gathering

	prev, next *request // in a queue, or in the free list
	in, out    [512]byte
}

type state uint8

const (
	stateNew       state = iota // not queued yet
	stateWaiting                // in a queue
	stateComputing              // in a batch
	stateVerified               // op.Out is the signature
	stateFaulty                 // the result did not verify: crypto/rsa signs
	stateAlone                  // too few to compute together: crypto/rsa signs
	stateBlocked                // the job cannot pause: crypto/rsa signs
	stateVoid                   // its context ended before it was in a batch
)

// init prepares r for a signature with k.
func (r *request) init(k *Key) {
	n := k.lanes.Size()
	r.op.Key, r.op.In, r.op.Out = k.lanes, r.in[:n], r.out[:n]
	r.size = k.size
}

// finished reports whether the job can continue.
func (r *request) finished() bool { return r.state >= stateVerified }

// queue holds the waiting requests for keys of one size, oldest first.
type queue struct {
	head, tail *request
	n          int
}

func (q *queue) push(r *request) {
	r.prev, r.next = q.tail, nil
	if q.tail == nil {
		q.head = r
	} else {
		q.tail.next = r
	}
	q.tail = r
	q.n++
}

func (q *queue) remove(r *request) {
	if r.prev == nil {
		q.head = r.next
	} else {
		r.prev.next = r.next
	}
	if r.next == nil {
		q.tail = r.prev
	} else {
		r.next.prev = r.prev
	}
	r.prev, r.next = nil, nil
	q.n--
}

// maxFree is how many requests a batcher keeps for reuse. Each has more than a
// kilobyte.
const maxFree = 64

// freeList is a stack of wiped requests.
type freeList struct {
	top *request
	n   int
}

func (f *freeList) get() *request {
	r := f.top
	if r == nil {
		return new(request)
	}
	f.top, r.next = r.next, nil
	f.n--
	return r
}

// put wipes r, which must not be in use any more, and keeps it for reuse.
func (f *freeList) put(r *request) {
	*r = request{woken: r.woken}
	if f.n == maxFree {
		return
	}
	r.next, f.top = f.top, r
	f.n++
}
