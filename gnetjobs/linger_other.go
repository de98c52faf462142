//go:build !unix

package gnetjobs

import "errors"

// shutdownWrite is not supported: gnet's descriptor cannot be used for it here.
func shutdownWrite(int) error { return errors.ErrUnsupported }
