//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package loop

import (
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/jobloop/jobloop/waitctx"
)

// On these systems New returns ErrUnsupported, and nothing below is ever called.
// It is here so that programs with a fallback compile.

type poller struct{ fd int }

func newPoller() (*poller, error) { return nil, ErrUnsupported }

func (*poller) close() error                                      { return ErrUnsupported }
func (*poller) add(int, generation) error                         { return ErrUnsupported }
func (*poller) arm(int, generation, waitctx.Events, bool) error   { return ErrUnsupported }
func (*poller) armed(int, generation, waitctx.Events) bool        { return false }
func (*poller) remove(int) error                                  { return ErrUnsupported }
func (*poller) wait(events []event, _ time.Duration) (int, error) { return 0, ErrUnsupported }
func (*poller) wake() error                                       { return ErrUnsupported }

type sockaddr any

const (
	reusePort         = 0
	acceptInherits    = false
	seesUrgent        = false
	errnoEPERM        = syscall.Errno(1)
	errnoEPIPE        = syscall.Errno(32)
	errnoECONNREFUSED = syscall.Errno(111)

	hasKeepAliveTime = false
	hasDeferAccept   = false
	hasFastOpen      = false
)

func sysNonblock(int)                   {}
func isErrno(error, syscall.Errno) bool { return false }
func wouldBlock(error) bool             { return false }
func isDescriptorLimit(error) bool      { return false }
func lacksOption(error) bool            { return false }
func interrupted(error) bool            { return false }
func acceptError(error) acceptOutcome   { return acceptFailed }

func accept(int) (int, sockaddr, error)                        { return -1, nil, ErrUnsupported }
func dupSocket(any) (int, error)                               { return -1, ErrUnsupported }
func sysRead(int, []byte) (int, error)                         { return 0, ErrUnsupported }
func sysWrite(int, []byte) (int, error)                        { return 0, ErrUnsupported }
func sysPeek(int) bool                                         { return false }
func sysIsOpen(int) bool                                       { return false }
func sysClose(int) error                                       { return ErrUnsupported }
func sysPoll(int, waitctx.Events, time.Duration) (bool, error) { return false, ErrUnsupported }
func sysShutdown(int, bool) error                              { return ErrUnsupported }
func sysBacklog(int, int) error                                { return ErrUnsupported }
func sysConnect(_, _ sockaddr) (int, error)                    { return -1, ErrUnsupported }
func sysConnected(int) (sockaddr, error)                       { return nil, ErrUnsupported }
func setReusePort(syscall.RawConn) error                       { return ErrUnsupported }
func setNoDelay(int, bool) error                               { return ErrUnsupported }
func setKeepAlive(int, bool) error                             { return ErrUnsupported }
func setKeepAliveTime(int, time.Duration) error                { return ErrUnsupported }
func setDeferAccept(int, time.Duration) error                  { return ErrUnsupported }
func setFastOpen(int, int) error                               { return ErrUnsupported }
func fastOpenIsOff() string                                    { return "" }
func backlogLimit() (string, int)                              { return "", 0 }
func sysReplace(int, int) error                                { return ErrUnsupported }
func setBuffer(int, bool, int) error                           { return ErrUnsupported }
func setLinger(int, int) error                                 { return ErrUnsupported }
func sysSocketError(int) syscall.Errno                         { return 0 }
func sysLocalAddr(int) sockaddr                                { return nil }
func sysRemoteAddr(int) (sockaddr, error)                      { return nil, ErrUnsupported }
func isAddrNotAvail(error) bool                                { return false }
func sameAddr(_, _ sockaddr) bool                              { return false }
func sysIsStream(int) bool                                     { return false }
func sysSpare() int                                            { return 0 }
func sysNetConn(int) (net.Conn, error)                         { return nil, ErrUnsupported }
func isWildcard(sockaddr) bool                                 { return false }
func netAddr(sockaddr) net.Addr                                { return nil }
func inetSockaddr(netip.AddrPort) sockaddr                     { return nil }
func unixSockaddr(string) sockaddr                             { return nil }
