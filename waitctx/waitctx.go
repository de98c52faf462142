// Package waitctx holds what a paused job waits for: file descriptors, a
// callback, and a status. It is OpenSSL's ASYNC_WAIT_CTX in Go.
//
// Code inside a job, such as a key engine, registers what it waits for before it
// pauses. It registers a descriptor with [WaitCtx.SetWaitFD], or takes a callback
// with [WaitCtx.Callback] and calls it later. After the pause, the code that runs
// the job reads [WaitCtx.AllFDs] or [WaitCtx.ChangedFDs], waits with its own poll,
// epoll or kqueue, and resumes the job.
//
// A WaitCtx only holds data: it makes no system call and starts no goroutine. It
// has no lock. It belongs to the goroutine that runs the job, and is used there or
// inside the job. The code that sets the callback decides from where the function
// may be called.
package waitctx

import (
	"errors"
	"fmt"
	"reflect"
)

// Errors of [WaitCtx.SetWaitFD] and [WaitCtx.SetWaitFDEvents]. They are wrapped in
// errors that name the refused value.
var (
	ErrInvalidFD     = errors.New("waitctx: invalid file descriptor")
	ErrInvalidKey    = errors.New("waitctx: key is not comparable")
	ErrInvalidEvents = errors.New("waitctx: invalid events")
)

// Events says which events of a descriptor a job waits for. OpenSSL only knows
// readability.
type Events uint8

const (
	Readable Events = 1 << iota
	Writable
)

// CleanupFunc releases what belongs to a registered descriptor. It gets the
// arguments that were given to [WaitCtx.SetWaitFD].
type CleanupFunc = func(w *WaitCtx, key any, fd int, data any)

// WaitCtx holds what one job waits for (OpenSSL: ASYNC_WAIT_CTX). The zero
// value is ready to use.
type WaitCtx struct {
	fds      []waitFD // oldest first; a cleared one that was seen stays until the job resumes
	nadded   int
	ndeleted int

	callback func(arg any) error
	arg      any
	taken    bool
	status   Status
}

type waitFD struct {
	key     any
	data    any
	cleanup CleanupFunc
	fd      int
	events  Events
	added   bool
	deleted bool
}

// New returns an empty WaitCtx (OpenSSL: ASYNC_WAIT_CTX_new).
func New() *WaitCtx { return new(WaitCtx) }

// Close calls the cleanup of every descriptor that was not cleared, once. It
// leaves the WaitCtx empty, so that it can be closed again or used for another
// job. It always returns nil. (OpenSSL: ASYNC_WAIT_CTX_free.)
func (w *WaitCtx) Close() error {
	fds := w.fds
	*w = WaitCtx{}
	w.cleanUp(fds)
	if w.fds == nil { // no cleanup registered anything: keep the memory
		clear(fds)
		w.fds = fds[:0]
	}
	return nil
}

// cleanUp calls all cleanups, even if one of them panics.
func (w *WaitCtx) cleanUp(fds []waitFD) {
	defer func() {
		if len(fds) > 0 {
			w.cleanUp(fds)
		}
	}()
	for len(fds) > 0 {
		f := &fds[0]
		fds = fds[1:]
		if !f.deleted && f.cleanup != nil {
			f.cleanup(w, f.key, f.fd, f.data)
		}
	}
}

// SetWaitFD registers fd under key: the job waits until fd becomes readable. FD
// and ClearFD find the registration by its key, and FD also returns data. Close
// calls cleanup, which may be nil, unless ClearFD was called first. If key is in
// use already, the new registration shadows the old one and does not replace it:
// FD and ClearFD find the newest one first, and no cleanup is lost.
//
// SetWaitFD returns ErrInvalidFD if fd is negative, and ErrInvalidKey if Go cannot
// compare key. (OpenSSL: ASYNC_WAIT_CTX_set_wait_fd.)
func (w *WaitCtx) SetWaitFD(key any, fd int, data any, cleanup func(w *WaitCtx, key any, fd int, data any)) error {
	return w.SetWaitFDEvents(key, fd, Readable, data, cleanup)
}

// SetWaitFDEvents is like SetWaitFD, but the job waits until fd becomes readable,
// writable, or either, as events says. It returns ErrInvalidEvents if events is 0
// or has other bits.
func (w *WaitCtx) SetWaitFDEvents(key any, fd int, events Events, data any, cleanup func(w *WaitCtx, key any, fd int, data any)) error {
	if fd < 0 {
		return fmt.Errorf("%w: %d", ErrInvalidFD, fd)
	}
	if events == 0 || events&^(Readable|Writable) != 0 {
		return fmt.Errorf("%w: %#x for fd %d", ErrInvalidEvents, uint8(events), fd)
	}
	if !isComparable(key) {
		return fmt.Errorf("%w: %T for fd %d", ErrInvalidKey, key, fd)
	}
	w.fds = append(w.fds, waitFD{
		key: key, fd: fd, data: data, cleanup: cleanup, events: events, added: true,
	})
	w.nadded++
	return nil
}

// isComparable reports whether a comparison with key cannot panic.
func isComparable(key any) bool {
	if key == nil {
		return true
	}
	v := reflect.ValueOf(key)
	switch v.Kind() {
	case reflect.Array, reflect.Struct: // it may contain an interface
		return v.Comparable() // not used for all kinds: it allocates in Go 1.26
	default:
		return v.Type().Comparable()
	}
}

// find returns the index of the newest registration under key, or -1.
func (w *WaitCtx) find(key any) int {
	for i := len(w.fds) - 1; i >= 0; i-- {
		if f := &w.fds[i]; !f.deleted && f.key == key {
			return i
		}
	}
	return -1
}

// FD returns the descriptor and the data registered under key. ok is false if
// there are none. (OpenSSL: ASYNC_WAIT_CTX_get_fd.)
func (w *WaitCtx) FD(key any) (fd int, data any, ok bool) {
	i := w.find(key)
	if i < 0 {
		return -1, nil, false
	}
	return w.fds[i].fd, w.fds[i].data, true
}

// Events returns the events of fd that the job waits for, under all keys together.
// It returns 0 if the job does not wait for fd.
func (w *WaitCtx) Events(fd int) Events {
	var ev Events
	for i := range w.fds {
		if f := &w.fds[i]; !f.deleted && f.fd == fd {
			ev |= f.events
		}
	}
	return ev
}

// ClearFD removes the newest registration under key, and reports whether there was
// one. It does not call the cleanup: the caller has to clean up. (OpenSSL:
// ASYNC_WAIT_CTX_clear_fd.)
func (w *WaitCtx) ClearFD(key any) bool {
	i := w.find(key)
	if i < 0 {
		return false
	}
	if w.fds[i].added { // added since the last resume, so nobody has seen it
		w.nadded--
		w.remove(i)
		return true
	}
	w.fds[i].deleted = true
	w.ndeleted++
	return true
}

func (w *WaitCtx) remove(i int) {
	last := len(w.fds) - 1
	copy(w.fds[i:], w.fds[i+1:])
	w.fds[last] = waitFD{}
	w.fds = w.fds[:last]
}

// AllFDs appends every registered descriptor to dst and returns the result. A
// descriptor that is registered twice is appended twice. (OpenSSL:
// ASYNC_WAIT_CTX_get_all_fds.)
func (w *WaitCtx) AllFDs(dst []int) []int {
	for i := range w.fds {
		if !w.fds[i].deleted {
			dst = append(dst, w.fds[i].fd)
		}
	}
	return dst
}

// ChangedFDs returns the changes since the job last resumed. It appends the
// descriptors that were registered to added and those that were cleared to
// deleted. A descriptor that was registered and then cleared in that time is in
// neither. (OpenSSL: ASYNC_WAIT_CTX_get_changed_fds.)
func (w *WaitCtx) ChangedFDs(added, deleted []int) ([]int, []int) {
	if w.nadded == 0 && w.ndeleted == 0 {
		return added, deleted
	}
	for i := range w.fds {
		switch f := &w.fds[i]; {
		case f.deleted:
			deleted = append(deleted, f.fd)
		case f.added:
			added = append(added, f.fd)
		}
	}
	return added, deleted
}

// ResetChanges makes ChangedFDs return only later changes. Package jobs calls it
// when a job resumes; other users do not need it. (OpenSSL:
// async_wait_ctx_reset_counts.)
func (w *WaitCtx) ResetChanges() {
	if w.nadded == 0 && w.ndeleted == 0 {
		return
	}
	kept := w.fds[:0]
	for _, f := range w.fds {
		if !f.deleted {
			f.added = false
			kept = append(kept, f)
		}
	}
	clear(w.fds[len(kept):])
	w.fds = kept
	w.nadded, w.ndeleted = 0, 0
}
