// Caddy is the Caddy server with one more module: it loads a certificate and its
// RSA key from files, and the key's signatures are gathered.
//
//	go run . run --config caddy.json
//
// The module is "tls.certificates.load_multibuffer"; caddy.json shows how to use it.
// To build Caddy with xcaddy, copy multibuffer.go into a package of your own.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	_ "github.com/caddyserver/caddy/v2/modules/standard"
)

func main() { caddycmd.Main() }
