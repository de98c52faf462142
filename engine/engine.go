// Package engine has what key engines and TLS servers share. A key engine keeps
// private-key operations from blocking an event loop. It pauses the job that needs
// a signature, and the loop runs other jobs until the signature is ready.
// (OpenSSL: an ENGINE that calls ASYNC_pause_job.)
//
// There are two engines. Package offload hands the operations of any crypto.Signer
// to worker goroutines. Package multibuffer computes the RSA operations of up to
// eight jobs together. Both turn a crypto.Signer into a [Key], which
// [GetCertificate] brings into a tls.Config.
//
// crypto.Signer passes no context to Sign, so a Key has to be told in which job it
// is used. ForContext, [GetCertificate] and, for clients, [GetClientCertificate]
// do that.
//
// A Key that has not been told also works, but it blocks its caller. In a server with
// a goroutine for each connection that is what one wants, and such a server has the
// Key in tls.Config's Certificates. In a job it blocks the loop. So on a loop use
// GetCertificate, also in every tls.Config that a GetConfigForClient returns.
package engine

import (
	"context"
	"crypto"
	"crypto/tls"

	"github.com/jobloop/jobloop/internal/host"
	"github.com/jobloop/jobloop/jobs"
)

// Key is a private key whose operations can pause the job in which they are
// called. The operations of the Key itself block their caller. Any goroutine may
// use it.
type Key interface {
	crypto.Signer

	// ForContext returns the key for the job that ctx carries. Operations of the
	// returned key pause that job. If ctx carries no job, or the caller is not
	// inside it, ForContext returns the Key itself.
	//
	// Any goroutine may use the returned key. Outside the job, such as on a
	// goroutine that the job has started, it blocks its caller as the Key itself
	// does. When ctx ends, waiting operations return ctx's error, and no more
	// operations start.
	ForContext(ctx context.Context) crypto.Signer
}

// GetCertificate returns a function for tls.Config's GetCertificate. It calls get.
// If the certificate has a Key, the handshake gets a copy whose key pauses its
// job. The copy is only for this handshake: its key ends with hello.Context().
// The certificate that get returned is not changed. Certificates without a Key are
// passed on unchanged.
func GetCertificate(get func(*tls.ClientHelloInfo) (*tls.Certificate, error)) func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		cert, err := get(hello)
		if err != nil || cert == nil {
			return cert, err
		}
		return ForContext(hello.Context(), cert), nil
	}
}

// GetClientCertificate returns a function for tls.Config's GetClientCertificate.
// It does for clients what GetCertificate does for servers.
func GetClientCertificate(get func(*tls.CertificateRequestInfo) (*tls.Certificate, error)) func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	return func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		cert, err := get(info)
		if err != nil || cert == nil {
			return cert, err
		}
		return ForContext(info.Context(), cert), nil
	}
}

// ForContext returns a copy of cert whose Key is for the job that ctx carries. It
// returns cert itself if cert has no Key, or if the caller is not inside that job.
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

// Host is an event loop as engines see it. *loop.Loop of package loop implements it. All methods
// except Post are for the loop's goroutine, jobs included. A Host must survive a
// hook that panics.
type Host interface {
	// BeforeSleep makes the loop call f, outside any job, whenever it has nothing
	// left to do. stop ends that.
	BeforeSleep(f func()) (stop func())

	// AfterJobs makes the loop call f, outside any job, each time it has run the
	// jobs that were ready. stop ends that.
	AfterJobs(f func()) (stop func())

	// Ready queues a paused job to be resumed. Jobs are resumed in the order of the
	// calls.
	Ready(j jobs.Job)

	// Post makes the loop call f on its goroutine. It may be called from any
	// goroutine. It returns an error if the loop has ended, or if too many calls
	// wait for it. f is then never called, but the loop must go on calling the
	// hooks.
	Post(f func()) error

	// Local returns the value that SetLocal stored under key, or nil.
	Local(key any) any
	SetLocal(key, value any)
}

// WithHost returns a context that tells engines on which loop its job runs. The
// contexts of package loop's jobs do not need it.
func WithHost(parent context.Context, h Host) context.Context {
	return host.With(parent, h)
}

// HostFromContext returns the loop of the job that ctx was given to.
func HostFromContext(ctx context.Context) (Host, bool) {
	h, ok := host.From(ctx).(Host)
	return h, ok
}
