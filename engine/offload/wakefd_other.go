//go:build !darwin && !dragonfly && !freebsd && !linux && !netbsd && !openbsd

package offload

import "errors"

const haveWakeFD = false

type wakeFD struct{}

func newWakeFD() (wakeFD, error) { return wakeFD{}, errors.ErrUnsupported }

func (f wakeFD) readable() int { return -1 }
func (f wakeFD) write()        {}
func (f wakeFD) close()        {}
