package jobs

import "context"

type contextKey struct{}

// NewContext returns a context that carries j to the code inside that job.
func NewContext(parent context.Context, j Job) context.Context {
	return context.WithValue(parent, contextKey{}, j)
}

// FromContext returns the job that ctx carries, if the caller is inside that job.
// ok is false if ctx carries no job, or if the caller is outside it, such as on a
// goroutine that the job has started. It may be called from any goroutine.
// (OpenSSL: ASYNC_get_current_job, where the thread carries the job.)
func FromContext(ctx context.Context) (j Job, ok bool) {
	j, ok = ctx.Value(contextKey{}).(Job)
	if !ok || !j.Inside() {
		return Job{}, false
	}
	return j, true
}
