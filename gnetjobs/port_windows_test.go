package gnetjobs_test

import "testing"

// reservedPort is for what gnet does not do on Windows.
func reservedPort(t *testing.T) string {
	t.Skip("SO_REUSEPORT is not for Windows")
	return ""
}
