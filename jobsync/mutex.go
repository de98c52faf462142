package jobsync

import (
	"context"
	"sync"
)

// Mutex is a lock that a job may hold over a pause. The zero Mutex is unlocked.
// It must not be copied after first use. Jobs get it in the order in which they
// came.
type Mutex struct {
	mu     sync.Mutex // held for moments only
	locked bool
	queue  queue
}

// Lock locks m, and pauses the job until that is possible. m is not locked if
// there is an error.
func (m *Mutex) Lock(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.locked {
		m.locked = true
		return nil
	}
	w := new(waiter)
	returned := false
	defer func() {
		if !returned && w.given { // runtime.Goexit: nobody will unlock it
			m.unlock()
		}
	}()
	err := wait(ctx, &m.mu, &m.queue, w)
	returned = true
	return err
}

// TryLock locks m if that is possible at once, and reports whether it was.
func (m *Mutex) TryLock() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.locked {
		return false
	}
	m.locked = true
	return true
}

// Unlock unlocks m. Any goroutine may do so. It panics if m is not locked.
func (m *Mutex) Unlock() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.locked {
		panic("jobsync: Unlock of an unlocked Mutex")
	}
	m.unlock()
}

// unlock passes the lock on.
func (m *Mutex) unlock() {
	if w := m.queue.next(); w != nil {
		w.give() // and it stays locked
		return
	}
	m.locked = false
}
