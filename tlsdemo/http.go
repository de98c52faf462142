package main

import (
	"crypto/tls"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

// maxBody is the most bytes of a request's body.
const maxBody = 1 << 20

// responder answers requests. It is the part of a server that does not depend on
// what the server runs on: event loops or goroutines.
type responder struct {
	closing atomic.Bool // each connection gets at most one more answer

	requestTimeout time.Duration // from the first byte of a request to its last
	idleTimeout    time.Duration // from one request to the next

	onResponse func(code int) // may be nil
}

// place is where a request is answered. On a goroutine it is the zero value.
type place struct {
	loop int
	job  uint64
}

// session is what the answers say about a connection.
type session struct {
	version uint16
	suite   string
	resumed bool
}

func newSession(c tlsConn) *session {
	state := c.ConnectionState()
	return &session{state.Version, tls.CipherSuiteName(state.CipherSuite), state.DidResume}
}

// answer makes the response. It has the same form for all methods and paths.
func (r *responder) answer(rc *fasthttp.RequestCtx, s *session, at place) {
	b := make([]byte, 0, 256)
	b = append(b, rc.Method()...)
	b = append(append(b, ' '), rc.RequestURI()...)
	b = append(append(b, "\nbody: "...), strconv.Itoa(len(rc.Request.Body()))...)
	b = append(append(b, " bytes\nprotocol: "...), tls.VersionName(s.version)...)
	b = append(append(b, "\ncipher suite: "...), s.suite...)
	b = strconv.AppendBool(append(b, "\nsession resumed: "...), s.resumed)
	b = strconv.AppendInt(append(b, "\nloop: "...), int64(at.loop), 10)
	b = strconv.AppendUint(append(b, "\njob: "...), at.job, 10)
	b = append(b, '\n')
	rc.Response.SetBody(b)
	rc.SetContentType("text/plain; charset=utf-8")
	if r.closing.Load() {
		rc.SetConnectionClose()
	}
}

// count counts a response.
func (r *responder) count(rc *fasthttp.RequestCtx) {
	if r.onResponse != nil {
		r.onResponse(rc.Response.StatusCode())
	}
}
