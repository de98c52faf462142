package httploop

import (
	"context"

	"github.com/valyala/fasthttp"
)

// What a handler can ask about its request, beyond fasthttp's RequestCtx.

type (
	contextKey struct{} // of the user value with the job's context
	stateKey   struct{} // of the one with the *connState
)

// Context returns the context of the job in which a request is answered, for loop.Dial
// and whatever else has to wait. It is never done.
func Context(rc *fasthttp.RequestCtx) context.Context {
	ctx, ok := rc.UserValue(contextKey{}).(context.Context)
	if !ok {
		return rc
	}
	return ctx
}

// connState is what a connection keeps between requests, as its value.
type connState struct {
	requests int
	value    any // the user's
}

// SetValue attaches a value to the request's connection, for its further requests.
func SetValue(rc *fasthttp.RequestCtx, v any) {
	s, ok := rc.UserValue(stateKey{}).(*connState)
	if !ok { // in a test of the handler alone
		s = new(connState)
		rc.SetUserValue(stateKey{}, s)
	}
	s.value = v
}

// Value returns the value of the request's connection that SetValue has attached, or
// Server.OnHandshake before the first request, or nil.
func Value(rc *fasthttp.RequestCtx) any {
	if s, ok := rc.UserValue(stateKey{}).(*connState); ok {
		return s.value
	}
	return nil
}
