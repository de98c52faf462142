// Package engine is what key engines and TLS servers have in common. A key
// engine takes private-key operations out of the way of an event loop: it
// pauses the job that needs a signature, and the loop runs other jobs until
// the signature is there. (OpenSSL: an ENGINE that calls ASYNC_pause_job.)
//
// There are two: package offload gives the operations of any crypto.Signer to
// worker goroutines, package multibuffer computes RSA operations of eight jobs
// together. Both make a [Key] of a crypto.Signer; [GetCertificate] brings it
// into a tls.Config.
//
// crypto.Signer passes no context to Sign, so a Key has to be told which job
// it is used in: that is what its ForContext and [GetCertificate] are for, and
// [GetClientCertificate] for clients.
//
// A Key that is used without works too, but blocks its caller, and with it the
// loop. That is what happens to one in tls.Config's Certificates, which
// crypto/tls does not tell of jobs: put it into GetCertificate, of every
// tls.Config that a GetConfigForClient returns too.
package engine

import (
	"context"
	"crypto"
	"crypto/tls"

	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/loop"
)

// Key is a private key whose operations can pause the job they are called in.
// Used as it is, it blocks, and may be used by any goroutine.
type Key interface {
	crypto.Signer

	// ForContext returns the key for the job that ctx carries, whose operations
	// pause that job. Any goroutine may use it: outside the job, on a goroutine
	// that the job has started for example, it blocks its caller as the Key
	// itself does. When ctx ends, operations that wait end with ctx's error, and
	// none begins any more. If ctx carries no job, or the caller is not inside
	// it, ForContext returns the Key itself.
	ForContext(ctx context.Context) crypto.Signer
}

// GetCertificate is for tls.Config's GetCertificate: it makes get's
// certificates that have a Key pause the handshake's job. Other certificates
// are passed on as they are. What crypto/tls gets is for this handshake only: it
// ends with hello.Context(). The certificate that get has returned stays as it is.
func GetCertificate(get func(*tls.ClientHelloInfo) (*tls.Certificate, error)) func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		cert, err := get(hello)
		if err != nil || cert == nil {
			return cert, err
		}
		return ForContext(hello.Context(), cert), nil
	}
}

// GetClientCertificate is for tls.Config's GetClientCertificate: it is to clients
// what GetCertificate is to servers.
func GetClientCertificate(get func(*tls.CertificateRequestInfo) (*tls.Certificate, error)) func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	return func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		cert, err := get(info)
		if err != nil || cert == nil {
			return cert, err
		}
		return ForContext(info.Context(), cert), nil
	}
}

// ForContext returns cert with its Key for the job that ctx carries. It returns
// cert itself if it has no Key, or if the caller is not inside such a job.
func ForContext(ctx context.Context, cert *tls.Certificate) *tls.Certificate {
	key, ok := cert.PrivateKey.(Key)
	if !ok {
		return cert
	}
	if _, ok := jobs.FromContext(ctx); !ok {
		return cert
	}
	bound := *cert
	bound.PrivateKey = key.ForContext(ctx)
	return &bound
}

// Host is an event loop as engines see it; *loop.Loop is one. Its methods but
// Post are for the loop's goroutine, jobs included. It has to survive a hook
// that panics.
type Host interface {
	// BeforeSleep makes the loop call f whenever it has nothing left to do.
	BeforeSleep(f func()) (stop func())

	// AfterJobs makes the loop call f, outside any job, each time it has run
	// the jobs that were ready.
	AfterJobs(f func()) (stop func())

	// Ready queues a paused job to be resumed, in the order of the calls.
	Ready(j jobs.Job)

	// Post calls f on the loop's goroutine, from any goroutine. After an error,
	// that the loop has ended or that too many calls wait, f is never called;
	// the hooks still have to be.
	Post(f func()) error

	// Local returns what SetLocal has kept under key, nil if nothing.
	Local(key any) any
	SetLocal(key, value any)
}

var _ Host = (*loop.Loop)(nil)

type hostKey struct{}

// WithHost returns a context that tells engines which loop its job is on. The
// contexts of package loop's jobs need no such help.
func WithHost(parent context.Context, h Host) context.Context {
	return context.WithValue(parent, hostKey{}, h)
}

// HostFromContext returns the loop of the job that ctx was given to.
func HostFromContext(ctx context.Context) (Host, bool) {
	if h, ok := ctx.Value(hostKey{}).(Host); ok {
		return h, true
	}
	l, ok := loop.FromContext(ctx)
	if !ok {
		return nil, false // and not a Host that holds a nil Loop
	}
	return l, true
}
