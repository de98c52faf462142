package waitctx_test

import (
	"fmt"

	"github.com/jobloop/jobloop/waitctx"
)

// An engine registers the descriptor its answer will come on; an event loop
// keeps its poller up to date from the changes.
func ExampleWaitCtx() {
	const answer = 7 // a descriptor
	w := waitctx.New()
	defer w.Close()

	w.SetWaitFD("engine", answer, nil, nil) // then the job pauses
	added, deleted := w.ChangedFDs(nil, nil)
	fmt.Println("poll", added, "forget", deleted)

	w.ResetChanges()    // what resuming the job does
	w.ClearFD("engine") // the answer is there; the job pauses for something else
	added, deleted = w.ChangedFDs(nil, nil)
	fmt.Println("poll", added, "forget", deleted)
	// Output:
	// poll [7] forget []
	// poll [] forget [7]
}

// An engine that calls back needs no descriptor.
func ExampleWaitCtx_SetCallback() {
	w := waitctx.New()
	w.SetCallback(func(arg any) error { // by whoever runs the job
		fmt.Println("resume", arg)
		return nil
	}, "job 1")

	wake, arg, ok := w.Callback() // by the engine, in the job
	if !ok {
		return // the engine has to register a descriptor
	}
	wake(arg) // by the engine, when it is done
	// Output: resume job 1
}

// The status tells whoever runs the job why it paused.
func ExampleStatus() {
	w := waitctx.New()
	w.SetStatus(waitctx.StatusEAgain) // by an engine whose queue is full

	switch st := w.Status(); st {
	case waitctx.StatusOK:
		fmt.Println("resume when the callback is called")
	case waitctx.StatusEAgain:
		fmt.Println(st, "after a while")
	}
	// Output: try again after a while
}

// One descriptor may be waited for in both directions, under keys of their own.
func ExampleEvents() {
	const socket = 5
	w := waitctx.New()
	w.SetWaitFDEvents("request", socket, waitctx.Readable, nil, nil)
	w.SetWaitFDEvents("response", socket, waitctx.Writable, nil, nil)

	fmt.Println(w.Events(socket) == waitctx.Readable|waitctx.Writable)
	w.ClearFD("request")
	fmt.Println(w.Events(socket) == waitctx.Writable)
	// Output:
	// true
	// true
}

// What is still registered at the end is cleaned up by Close.
func ExampleCleanupFunc() {
	var release waitctx.CleanupFunc = func(_ *waitctx.WaitCtx, key any, fd int, data any) {
		fmt.Printf("%v: close %d of %v\n", key, fd, data)
	}
	w := waitctx.New()
	w.SetWaitFD("done", 3, "request 1", release)
	w.SetWaitFD("late", 4, "request 2", release)
	w.ClearFD("done") // and the engine closed it itself
	w.Close()
	// Output: late: close 4 of request 2
}
