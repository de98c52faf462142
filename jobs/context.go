package jobs

import "context"

type contextKey struct{}

// NewContext returns a context that carries the job to the code inside it.
func NewContext(parent context.Context, j Job) context.Context {
	return context.WithValue(parent, contextKey{}, j)
}

// FromContext returns the job that ctx carries, to code inside that job. ok is
// false if ctx carries none, or if the caller is not inside it: on a goroutine
// that the job has started, for example. Any goroutine may ask. (OpenSSL:
// ASYNC_get_current_job, where the thread carries it.)
func FromContext(ctx context.Context) (j Job, ok bool) {
	j, ok = ctx.Value(contextKey{}).(Job)
	if !ok || !j.Inside() {
		return Job{}, false
	}
	return j, true
}
