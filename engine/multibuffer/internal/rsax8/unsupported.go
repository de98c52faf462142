//go:build !amd64 || purego

package rsax8

// Supported returns false: this build has no kernel.
func Supported() bool { return false }

// Nothing below is ever called.

const unsupported = "rsax8: unsupported"

func amm20(_, _, _, _, _ *vec)     { panic(unsupported) }
func ams20(_, _, _, _, _ *vec)     { panic(unsupported) }
func mul15(_, _, _ *vec)           { panic(unsupported) }
func mul20(_, _, _ *vec)           { panic(unsupported) }
func mulAdd15(_, _, _ *vec)        { panic(unsupported) }
func mulAdd20(_, _, _ *vec)        { panic(unsupported) }
func sqr15(_, _ *vec)              { panic(unsupported) }
func sqr20(_, _ *vec)              { panic(unsupported) }
func red15(_, _, _, _ *vec)        { panic(unsupported) }
func red20(_, _, _, _ *vec)        { panic(unsupported) }
func sel5(_, _, _ *vec, _, _ int)  { panic(unsupported) }
func sel8(_, _, _ *vec, _, _ int)  { panic(unsupported) }
func sel10(_, _, _ *vec, _, _ int) { panic(unsupported) }
func sel15(_, _, _ *vec, _, _ int) { panic(unsupported) }
func sel20(_, _, _ *vec, _, _ int) { panic(unsupported) }

func ammPair5(_, _, _, _, _ *vec, _ int)      { panic(unsupported) }
func ammPair5Twice(_, _, _, _, _ *vec, _ int) { panic(unsupported) }
func ammPair8(_, _, _, _, _ *vec, _ int)      { panic(unsupported) }
func ammPair10(_, _, _, _, _ *vec, _ int)     { panic(unsupported) }
func ammSingle5(_, _, _, _, _ *vec, _ int)    { panic(unsupported) }
func ammSingle8(_, _, _, _, _ *vec, _ int)    { panic(unsupported) }
func ammSingle10(_, _, _, _, _ *vec, _ int)   { panic(unsupported) }
func norm(_, _ *vec, _ int)                   { panic(unsupported) }
func dbl(_, _ *vec, _ int)                    { panic(unsupported) }
func wipeRegisters()                          { panic(unsupported) }
