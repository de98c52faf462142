//go:build !linux

package main

// takeCoreUse returns nothing: only Linux is asked how its cores are used.
func takeCoreUse() coreUse { return coreUse{} }
