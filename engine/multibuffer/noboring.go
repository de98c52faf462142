//go:build !boringcrypto

package multibuffer

func boringEnabled() bool { return false }
