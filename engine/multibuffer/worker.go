package multibuffer

// startWorker has another goroutine compute the batch. There is one at a time
// for each batcher, and it ends by itself.
func (b *batcher) startWorker() {
	first := b.batch.reqs[0]
	go b.work(first.wake, first.wakeArg)
}

// work runs on the worker's goroutine. When done is set, the batch is the
// loop's again, and anything but the batcher's constant fields may change.
func (b *batcher) work(wake func(arg any) error, arg any) {
	b.compute()
	b.done.Store(true)
	if err := b.host.Post(b.collect); err == nil || wake == nil {
		return
	}
	// The loop has ended, and there is nobody to care; or too many calls wait
	// for it, perhaps until the jobs of this batch end. What wakes a job is not
	// refused then, and once awake the loop looks at done.
	wake(arg)
}

// onComputed takes over what a worker has computed. The loop may have been told
// of it twice.
func (b *batcher) onComputed() {
	if !b.done.Load() {
		return
	}
	b.done.Store(false)
	b.settle()
	b.run(false) // the next batch, if one is due, before the jobs of this one
}
