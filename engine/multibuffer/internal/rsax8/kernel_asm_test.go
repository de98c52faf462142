package rsax8

import (
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestAssemblyIsConstantTime reads the assembly of the package and shows that
// no branch and no address in it can depend on the contents of a vector:
//
//   - Instructions are of a short list, all of them of one duration whatever
//     they work on, none of which moves a vector or a mask into a general register.
//     Masks select within registers only.
//   - General registers are loaded from arguments, pointers and counts, and from
//     constants. They are changed by constants and by the argument stride.
//   - Addresses are a register that holds a pointer argument, and a constant.
//   - Branches are at the end of loops, on a count.
func TestAssemblyIsConstantTime(t *testing.T) {
	files, err := filepath.Glob("*.s")
	if err != nil || len(files) == 0 {
		t.Fatalf("no assembly: %v", err)
	}
	checked := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		n, bad := checkAssembly(string(text))
		checked += n
		for _, b := range bad {
			t.Errorf("%s:%s", file, b)
		}
	}
	if checked < 5000 {
		t.Errorf("only %d instructions found", checked)
	}
}

// wipeRegisters leaves nothing in any register.
func TestWipeRegistersWipesAll(t *testing.T) {
	needKernel(t)
	text, err := os.ReadFile("kernel_amd64.s")
	if err != nil {
		t.Fatal(err)
	}
	_, body, ok := strings.Cut(string(text), "TEXT ·wipeRegisters(SB)")
	if !ok {
		t.Fatal("there is no wipeRegisters")
	}
	got := make(map[string]bool)
	for line := range strings.Lines(body) {
		got[strings.Join(strings.Fields(line), " ")] = true
	}
	for i := range 32 {
		if want := fmt.Sprintf("VPXORQ Z%d, Z%d, Z%d", i, i, i); !got[want] {
			t.Errorf("no %s", want)
		}
	}
	for i := range 8 {
		if want := fmt.Sprintf("KXORQ K%d, K%d, K%d", i, i, i); !got[want] {
			t.Errorf("no %s", want)
		}
	}
}

// Do wipes the registers, after a panic too.
func TestDoWipesRegisters(t *testing.T) {
	needKernel(t)
	defer func(was func()) { wipeAll = was }(wipeAll)
	wiped := 0
	wipeAll = func() { wiped++ }
	k, key := newKey(t, 2048)
	u := NewUnit(2048)
	r, _ := request(k, key, big.NewInt(2))
	u.Do([]*Request{r})
	func() {
		defer func() { recover() }()
		u.Do([]*Request{{Key: key, In: r.In[:1], Out: r.Out}, nil})
	}()
	if wiped != 2 {
		t.Errorf("wiped %d times, want 2", wiped)
	}
}

// What the check is there for does not pass it.
func TestAssemblyCheckFindsFaults(t *testing.T) {
	const begin = "TEXT ·f(SB), NOSPLIT, $0-24\n\tMOVQ t+0(FP), DI\n\tMOVQ limbs+8(FP), CX\n"
	for _, good := range []string{
		"VMOVDQU64 64(DI), Z1", "VPADDQ Z1, Z2, Z3", "DECQ CX\n\tJNZ loop", "VPTERNLOGQ.Z $0xff, Z28, Z28, K1, Z28",
		"MOVQ $0x03, AX\n\tKMOVQ AX, K1", "VPBROADCASTQ X1, Z2", "VPSUBQ Z1, Z2, K1, Z2", "ADDQ $0x08, DI",
	} {
		if n, bad := checkAssembly(begin + "\t" + good + "\n\tRET\n"); n < 4 || len(bad) > 0 {
			t.Errorf("%q: %v", good, bad)
		}
	}
	for _, fault := range []string{
		"VMOVDQU64 64(R9), Z1",     // a register that holds nothing
		"VMOVDQU64 (CX), Z1",       // or a count
		"VMOVDQU64 (DI)(CX*8), Z1", // an index
		"MOVQ (DI), AX",            // a limb in a general register
		"VMOVQ X1, AX",             //
		"KMOVQ K1, AX",             // or a mask
		"KMOVQ DI, K1",             // a pointer in a mask
		"KORTESTQ K1, K1",          // a mask in the flags
		"ADDQ $0x08, CX",           // a count that grows
		"MOVQ $0x03, DI\n\tVMOVDQU64 (DI), Z1",
		"MOVQ $0x01, CX\n\tDECQ CX\n\tJNZ loop", "DECQ CX\nhere:\n\tJNZ loop",
		"VPBROADCASTQ (R9), Z1", "VPBROADCASTQ CX, Z1", "VALIGNQ $0x01, (CX), Z1, Z2", // as above, in other instructions
		"VPSUBQ (DI), Z1, K1, Z2", "VPSRLQ.Z $0x34, (DI), K1, Z1", // masked loads
		"VPCMPGTQ (CX), Z1, K1", "KADDQ K1, AX, K2", "KMOVQ (DI), K1",
		"VPGATHERQQ (DI)(Z1*8), K1, Z2", // addresses from a vector
		"VMOVDQU64 (DI), K1, Z1",        // a masked load
		"VMOVDQU64 Z1, K1, (DI)",        // a masked store
		"JNZ loop",                      // on whatever
		"JC loop", "CMPQ AX, BX", "DIVQ CX", "CALL ·g(SB)", "ADDQ CX, DI", "DECQ DI\n\tJNZ loop",
	} {
		if _, bad := checkAssembly(begin + "\t" + fault + "\n\tRET\n"); len(bad) == 0 {
			t.Errorf("not found: %q", fault)
		}
	}
}

const generalRegister = `(AX|BX|CX|DX|SI|DI|R8|R9|R10|R11|R12|R13|R15)`

var (
	asmAddress  = regexp.MustCompile(`^[0-9]*\(` + generalRegister + `\)$`)
	asmZ        = regexp.MustCompile(`^Z[0-9]+$`)
	asmMask     = regexp.MustCompile(`^K[0-7]$`)
	asmConstant = regexp.MustCompile(`^\$0x[0-9a-f]+$`)
	asmArgument = regexp.MustCompile(`^([a-z]+)\+[0-9]+\(FP\), ` + generalRegister + `$`)
	asmAdvance  = regexp.MustCompile(`^\$0x(40|10|08), ` + generalRegister + `$`)
	asmLoad     = regexp.MustCompile(`^\$0x[0-9a-f]+, ` + generalRegister + `$`)
	asmLow      = regexp.MustCompile(`^X[0-9]+$`)

	asmVectorOps = []string{
		"VMOVDQU64", "VPXORQ", "VPMADD52LUQ", "VPMADD52HUQ", "VPADDQ", "VPSRLQ", "VPANDQ", "VPORQ", "VPTERNLOGQ",
		"VMOVDQA64", "VALIGNQ", "VSHUFI64X2", "VBROADCASTI64X2", "VPBROADCASTQ",
	}
	asmMaskOps  = []string{"KUNPCKBW", "KUNPCKWD", "KUNPCKDQ", "KSHIFTLQ", "KSHIFTRQ", "KADDQ", "KANDQ", "KORQ", "KXORQ", "KNOTQ"}
	asmPointers = []string{"dst", "t", "a", "b", "m", "k", "q", "table", "index"}
	asmCounts   = []string{"limbs", "entries", "rows"}
)

// checkAssembly returns how many instructions there are, and those that are not
// known to be of constant time.
func checkAssembly(text string) (n int, bad []string) {
	roles := map[string]string{} // which argument a general register was loaded from
	isPointer := func(register string) bool { return slices.Contains(asmPointers, roles[register]) }
	isVector := func(a string) bool {
		m := asmAddress.FindStringSubmatch(a)
		return asmZ.MatchString(a) || asmConstant.MatchString(a) || m != nil && isPointer(m[1])
	}
	previous := ""
	for number, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "//") || strings.HasPrefix(line, "#include") {
			continue
		}
		if strings.HasSuffix(line, ":") {
			previous = "" // there is another way to what follows
			continue
		}
		if strings.HasPrefix(line, "TEXT") {
			clear(roles)
			continue
		}
		op, rest, _ := strings.Cut(line, " ")
		rest = strings.TrimSpace(rest)
		args := strings.Split(rest, ", ")
		ok := false
		switch {
		case op == "MOVQ":
			if m := asmArgument.FindStringSubmatch(rest); m != nil {
				roles[m[2]] = m[1]
				ok = true
			} else if m := asmLoad.FindStringSubmatch(rest); m != nil {
				roles[m[1]] = "constant"
				ok = true
			}
		case op == "KMOVQ":
			ok = len(args) == 2 && roles[args[0]] == "constant" && asmMask.MatchString(args[1])
		case op == "ADDQ":
			ok = asmAdvance.MatchString(rest) && isPointer(args[1]) ||
				len(args) == 2 && roles[args[0]] == "stride" && roles[args[1]] == "table"
		case op == "DECQ":
			ok = slices.Contains(asmCounts, roles[rest])
		case op == "JNZ":
			ok = previous == "DECQ"
		case op == "VZEROUPPER" || op == "RET":
			ok = rest == ""
		case op == "VPCMPEQQ" || op == "VPCMPGTQ": // into a mask
			ok = len(args) == 3 && asmZ.MatchString(args[0]) && asmZ.MatchString(args[1]) && asmMask.MatchString(args[2])
		case op == "VPTERNLOGQ.Z": // all ones where the mask is
			ok = len(args) == 5 && asmConstant.MatchString(args[0]) && asmZ.MatchString(args[1]) &&
				asmZ.MatchString(args[2]) && asmMask.MatchString(args[3]) && asmZ.MatchString(args[4])
		case op == "VPSRLQ.Z" || op == "VPSUBQ": // where the mask is
			ok = len(args) == 4 && (asmZ.MatchString(args[0]) || asmConstant.MatchString(args[0])) &&
				asmZ.MatchString(args[1]) && asmMask.MatchString(args[2]) && asmZ.MatchString(args[3])
		case op == "VPBROADCASTQ" && asmLow.MatchString(args[0]):
			ok = len(args) == 2 && asmZ.MatchString(args[1])
		case slices.Contains(asmMaskOps, op):
			ok = !slices.ContainsFunc(args, func(a string) bool { return !asmMask.MatchString(a) && !asmConstant.MatchString(a) })
		case slices.Contains(asmVectorOps, op):
			ok = !slices.ContainsFunc(args, func(a string) bool { return !isVector(a) })
		}
		if !ok {
			bad = append(bad, fmt.Sprintf("%d: not known to be of constant time: %s", number+1, line))
		}
		previous = op
		n++
	}
	return n, bad
}
