package jobsync

import (
	"context"
	"sync"
)

// Mutex is a lock that a job may hold while it pauses. Jobs get it in the order in
// which they asked for it. The zero Mutex is unlocked. A Mutex must not be copied
// after first use.
type Mutex struct {
	mu     sync.Mutex // only held briefly
	locked bool
	queue  queue
}

// Lock locks m, and pauses the job until that is possible. If it returns an error,
// m has not been locked.
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
		if !returned && w.given { // runtime.Goexit: nobody else will unlock it
			m.unlock()
		}
	}()
	err := wait(ctx, &m.mu, &m.queue, w)
	returned = true
	return err
}

// TryLock locks m if that is possible at once, and reports whether it did.
func (m *Mutex) TryLock() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.locked {
		return false
	}
	m.locked = true
	return true
}

// Unlock unlocks m. Any goroutine may call it. It panics if m is not locked.
func (m *Mutex) Unlock() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.locked {
		panic("jobsync: Unlock of an unlocked Mutex")
	}
	m.unlock()
}

// unlock passes the lock on to the first waiter, or unlocks m if there is none.
func (m *Mutex) unlock() {
	if w := m.queue.next(); w != nil {
		w.give() // m stays locked
		return
	}
	m.locked = false
}
