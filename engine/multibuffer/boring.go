//go:build boringcrypto

package multibuffer

import "crypto/boring"

// boringEnabled reports whether BoringCrypto, a validated module too, does the
// program's cryptography.
func boringEnabled() bool { return boring.Enabled() }
