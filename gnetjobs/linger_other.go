//go:build !unix

package gnetjobs

import "errors"

// shutdownWrite does nothing here: gnet's descriptor is of no use for that.
func shutdownWrite(int) error { return errors.ErrUnsupported }
