package multibuffer

// startWorker starts a goroutine that computes the batch. Each batcher has at most
// one at a time. It ends by itself.
func (b *batcher) startWorker() {
	first := b.batch.reqs[0]
	go b.work(first.wake, first.wakeArg)
}

// work runs on the worker's goroutine. Once it has set done, the batch belongs to
// the loop again, and work may only use those fields of the batcher that never
// change.
func (b *batcher) work(wake func(arg any) error, arg any) {
	b.batch.compute()
	b.done.Store(true)
	if err := b.host.Post(b.collect); err == nil || wake == nil {
		return
	}
	// Either the loop has ended, and nobody needs the result. Or too many calls
	// wait for the loop, perhaps until the jobs of this batch end. A wake of a job
	// is not refused even then, and once awake the loop checks done.
	wake(arg)
}

// onComputed takes over the batch that a worker has computed. It may be called
// twice for one batch, by collect and by onTurn.
func (b *batcher) onComputed() {
	if !b.done.Load() {
		return
	}
	b.done.Store(false)
	b.settle()
	b.run(false) // start the next batch, if one is due, before the jobs of this one run
}
