//go:build unix

package machine

import "golang.org/x/sys/unix"

// Kernel returns the kernel's name and release, such as "Linux 6.12.0", or an empty
// string where the system does not tell.
func Kernel() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:])
}
