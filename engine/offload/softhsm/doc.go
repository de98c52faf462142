// Package softhsm tests package offload with a PKCS#11 token: SoftHSM, used
// through github.com/ThalesGroup/crypto11. It is a module of its own because
// that needs cgo, and because none of it is needed by who uses package offload
// with another key.
//
// The script run.sh runs the test, and installs SoftHSM first where it can.
package softhsm
