// Package waitctx holds what a paused job waits for: file descriptors, a
// callback, and a status. It is OpenSSL's ASYNC_WAIT_CTX in Go.
//
// The code inside a job (a key engine, say) that is about to pause registers
// the descriptor it waits for with [WaitCtx.SetWaitFD], or takes the callback
// it will call later with [WaitCtx.Callback]. Whoever runs the job reads
// [WaitCtx.AllFDs] or [WaitCtx.ChangedFDs] after the pause, waits with its own
// poll, epoll or kqueue, and resumes the job.
//
// The package is plain data: it makes no system call and starts no goroutine.
// A WaitCtx has no lock. It belongs to the goroutine that runs the job, and is
// used from there or from inside the job. The function that
// [WaitCtx.Callback] returns may be called from wherever its owner allows.
package waitctx

import (
	"errors"
	"fmt"
	"reflect"
)

// Errors of [WaitCtx.SetWaitFD] and [WaitCtx.SetWaitFDEvents]. They come
// wrapped, with the value that was refused.
var (
	ErrInvalidFD     = errors.New("waitctx: invalid file descriptor")
	ErrInvalidKey    = errors.New("waitctx: key is not comparable")
	ErrInvalidEvents = errors.New("waitctx: invalid events")
)

// Events says what a descriptor is waited for. OpenSSL knows readability only.
type Events uint8

const (
	Readable Events = 1 << iota
	Writable
)

// CleanupFunc releases what belongs to a registered descriptor. It is given
// what [WaitCtx.SetWaitFD] was given.
type CleanupFunc = func(w *WaitCtx, key any, fd int, data any)

// WaitCtx holds what one job waits for (OpenSSL: ASYNC_WAIT_CTX). The zero
// value is ready to use.
type WaitCtx struct {
	fds      []waitFD // oldest first; a cleared one stays until the job resumes
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

// Close calls the cleanup of every descriptor that was not cleared, once, and
// leaves the WaitCtx empty: it can be closed again or used for another job. It
// always returns nil. (OpenSSL: ASYNC_WAIT_CTX_free.)
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

// SetWaitFD registers fd as one the job waits to read from, under a key that
// FD and ClearFD find it by. The data comes back from FD; cleanup, which may
// be nil, is called by Close unless ClearFD came first. A key that is in use
// already is shadowed, not replaced: FD and ClearFD find the newest
// registration first, and no cleanup is lost.
//
// A negative fd is ErrInvalidFD; a key that Go cannot compare is
// ErrInvalidKey. (OpenSSL: ASYNC_WAIT_CTX_set_wait_fd.)
func (w *WaitCtx) SetWaitFD(key any, fd int, data any, cleanup func(w *WaitCtx, key any, fd int, data any)) error {
	return w.SetWaitFDEvents(key, fd, Readable, data, cleanup)
}

// SetWaitFDEvents is SetWaitFD for a descriptor that is waited for to become
// readable, writable, or either.
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
	case reflect.Array, reflect.Struct: // there may be an interface in it
		return v.Comparable() // which allocates in Go 1.26
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

// FD returns what was registered under key; ok is false if nothing is.
// (OpenSSL: ASYNC_WAIT_CTX_get_fd.)
func (w *WaitCtx) FD(key any) (fd int, data any, ok bool) {
	i := w.find(key)
	if i < 0 {
		return -1, nil, false
	}
	return w.fds[i].fd, w.fds[i].data, true
}

// Events returns what fd is waited for under all its keys together, 0 if it is
// not waited for.
func (w *WaitCtx) Events(fd int) Events {
	var ev Events
	for i := range w.fds {
		if f := &w.fds[i]; !f.deleted && f.fd == fd {
			ev |= f.events
		}
	}
	return ev
}

// ClearFD removes the registration under key and reports whether there was
// one. Its cleanup is not called: whoever clears cleans up. (OpenSSL:
// ASYNC_WAIT_CTX_clear_fd.)
func (w *WaitCtx) ClearFD(key any) bool {
	i := w.find(key)
	if i < 0 {
		return false
	}
	if w.fds[i].added { // since the last resume: nobody has seen it
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

// AllFDs appends every registered descriptor to dst and returns it. One that
// is registered under two keys is there twice. (OpenSSL:
// ASYNC_WAIT_CTX_get_all_fds.)
func (w *WaitCtx) AllFDs(dst []int) []int {
	for i := range w.fds {
		if !w.fds[i].deleted {
			dst = append(dst, w.fds[i].fd)
		}
	}
	return dst
}

// ChangedFDs appends the descriptors registered and those cleared since the
// job last resumed to added and deleted, and returns them. One that was both
// registered and cleared in that time is in neither. (OpenSSL:
// ASYNC_WAIT_CTX_get_changed_fds.)
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

// ResetChanges makes ChangedFDs start afresh. Package jobs calls it when a job
// resumes; other users do not need it. (OpenSSL: async_wait_ctx_reset_counts.)
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
