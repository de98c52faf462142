//go:build boringcrypto

package multibuffer

import "crypto/boring"

// boringEnabled reports whether the program's cryptography is done by
// BoringCrypto, which is a validated module too.
func boringEnabled() bool { return boring.Enabled() }
