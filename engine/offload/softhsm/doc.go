// Package softhsm tests package offload with a PKCS#11 token. The token is SoftHSM,
// used through github.com/ThalesGroup/crypto11. The package is a module of its own
// because it needs cgo, and because users of package offload do not need its
// dependencies.
//
// The script run.sh runs the test. It first installs SoftHSM where it can.
package softhsm
