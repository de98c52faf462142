module github.com/jobloop/jobloop/engine/offload/softhsm

go 1.25.0

require (
	github.com/ThalesGroup/crypto11 v1.5.0
	github.com/jobloop/jobloop v0.0.0
)

require (
	github.com/miekg/pkcs11 v1.1.1 // indirect
	github.com/pkg/errors v0.9.1 // indirect
	github.com/thales-e-security/pool v0.0.2 // indirect
	golang.org/x/sys v0.47.0 // indirect
)

replace github.com/jobloop/jobloop => ../../..
