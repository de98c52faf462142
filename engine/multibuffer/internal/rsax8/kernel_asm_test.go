package rsax8

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestAssemblyIsConstantTime reads the generated assembly and shows that no
// branch and no address in it can depend on the contents of a vector:
//
//   - Instructions are of a short list, all of them of one duration whatever
//     they work on, none of which moves a vector into a general register.
//   - General registers are loaded from arguments, pointers and counts, and
//     changed by constants and by the argument stride.
//   - Addresses are such a register and a constant.
//   - Branches are at the end of loops, on a count.
func TestAssemblyIsConstantTime(t *testing.T) {
	text, err := os.ReadFile("kernel_amd64.s")
	if err != nil {
		t.Fatal(err)
	}
	const general = `(AX|BX|CX|DX|SI|DI|R8|R9|R10|R11|R12|R13|R15)`
	address := regexp.MustCompile(`^[0-9]*\(` + general + `\)$`)
	vector := regexp.MustCompile(`^(Z[0-9]+|K[0-7])$`)
	constant := regexp.MustCompile(`^\$0x[0-9a-f]+$`)
	loadArg := regexp.MustCompile(`^(dst|t|a|b|m|k|q|table|index|limbs|entries|stride)\+[0-9]+\(FP\), ` + general + `$`)
	advance := regexp.MustCompile(`^\$0x40, ` + general + `$`)
	vectorOps := map[string]bool{
		"VMOVDQU64": true, "VPXORQ": true, "VPMADD52LUQ": true, "VPMADD52HUQ": true, "VPADDQ": true,
		"VPSRLQ": true, "VPANDQ": true, "VPORQ": true, "VPTERNLOGQ": true, "VPTERNLOGQ.Z": true, "VPCMPEQQ": true,
	}
	roles := map[string]string{} // what argument a general register holds
	previous := ""
	checked := 0
	for n, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "//") || strings.HasPrefix(line, "#include") || strings.HasSuffix(line, ":") {
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
			if m := loadArg.FindStringSubmatch(rest); m != nil {
				roles[m[2]] = m[1]
				ok = true
			}
		case op == "ADDQ":
			ok = advance.MatchString(rest) || len(args) == 2 && roles[args[0]] == "stride" && roles[args[1]] == "table"
		case op == "DECQ":
			ok = roles[rest] == "limbs" || roles[rest] == "entries"
		case op == "JNZ":
			ok = previous == "DECQ"
		case op == "VZEROUPPER" || op == "RET":
			ok = rest == ""
		case vectorOps[op]:
			ok = true
			for _, a := range args {
				ok = ok && (vector.MatchString(a) || constant.MatchString(a) || address.MatchString(a))
			}
		}
		if !ok {
			t.Errorf("kernel_amd64.s:%d: not known to be of constant time: %s", n+1, line)
		}
		previous = op
		checked++
	}
	if checked < 5000 {
		t.Errorf("only %d instructions found", checked)
	}
}
