package waitctx_test

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/waitctx"
)

// set registers fd under key, with no data and no cleanup.
func set(t *testing.T, w *waitctx.WaitCtx, key any, fd int) {
	t.Helper()
	if err := w.SetWaitFD(key, fd, nil, nil); err != nil {
		t.Fatalf("SetWaitFD(%v, %d): %v", key, fd, err)
	}
}

// mustClear clears key, which must be there.
func mustClear(t *testing.T, w *waitctx.WaitCtx, key any) {
	t.Helper()
	if !w.ClearFD(key) {
		t.Fatalf("ClearFD(%v) = false, want true", key)
	}
}

func wantAll(t *testing.T, w *waitctx.WaitCtx, want ...int) {
	t.Helper()
	if got := w.AllFDs(nil); !slices.Equal(got, want) {
		t.Errorf("AllFDs = %v, want %v", got, want)
	}
}

func wantChanged(t *testing.T, w *waitctx.WaitCtx, added, deleted []int) {
	t.Helper()
	a, d := w.ChangedFDs(nil, nil)
	if !slices.Equal(a, added) || !slices.Equal(d, deleted) {
		t.Errorf("ChangedFDs = %v, %v, want %v, %v", a, d, added, deleted)
	}
}

func TestZeroValue(t *testing.T) {
	var w waitctx.WaitCtx
	wantAll(t, &w)
	wantChanged(t, &w, nil, nil)
	w.ResetChanges()
	if fd, data, ok := w.FD("key"); fd != -1 || data != nil || ok {
		t.Errorf("FD = %d, %v, %t, want -1, nil, false", fd, data, ok)
	}
	if w.ClearFD("key") {
		t.Error("ClearFD of a key that was never set is true")
	}
	if err := w.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	set(t, &w, "key", 3)
	wantAll(t, &w, 3)
}

// A step is what the code in a job, or a resume of the job, does to a WaitCtx.
type step func(t *testing.T, w *waitctx.WaitCtx)

func setting(key any, fd int) step {
	return func(t *testing.T, w *waitctx.WaitCtx) { set(t, w, key, fd) }
}

func clearing(key any) step {
	return func(t *testing.T, w *waitctx.WaitCtx) { mustClear(t, w, key) }
}

func resume(_ *testing.T, w *waitctx.WaitCtx) { w.ResetChanges() }

func TestFDs(t *testing.T) {
	tests := []struct {
		name    string
		steps   []step
		all     []int
		added   []int
		deleted []int
	}{
		{
			name:  "set",
			steps: []step{setting("a", 3), setting("b", 4)},
			all:   []int{3, 4},
			added: []int{3, 4},
		},
		{
			name:  "seen",
			steps: []step{setting("a", 3), resume},
			all:   []int{3},
		},
		{
			name:  "set and cleared between two pauses",
			steps: []step{setting("a", 3), clearing("a")},
		},
		{
			name:  "set and cleared beside one that stays",
			steps: []step{setting("a", 3), setting("b", 4), setting("c", 5), clearing("b")},
			all:   []int{3, 5},
			added: []int{3, 5},
		},
		{
			name:    "cleared after it was seen",
			steps:   []step{setting("a", 3), setting("b", 4), resume, clearing("a")},
			all:     []int{4},
			deleted: []int{3},
		},
		{
			name:  "cleared and seen to be",
			steps: []step{setting("a", 3), setting("b", 4), resume, clearing("a"), resume},
			all:   []int{4},
		},
		{
			name:    "cleared and set again",
			steps:   []step{setting("a", 3), resume, clearing("a"), setting("a", 3)},
			all:     []int{3},
			added:   []int{3},
			deleted: []int{3},
		},
		{
			name:    "cleared, set and cleared again",
			steps:   []step{setting("a", 3), resume, clearing("a"), setting("a", 4), clearing("a")},
			deleted: []int{3},
		},
		{
			name:    "one of each",
			steps:   []step{setting("a", 3), setting("b", 4), resume, clearing("b"), setting("c", 5)},
			all:     []int{3, 5},
			added:   []int{5},
			deleted: []int{4},
		},
		{
			name:  "resumed twice",
			steps: []step{setting("a", 3), resume, resume},
			all:   []int{3},
		},
		{
			name:  "one descriptor under two keys",
			steps: []step{setting("a", 3), setting("b", 3)},
			all:   []int{3, 3},
			added: []int{3, 3},
		},
		{
			name:  "descriptor 0",
			steps: []step{setting("a", 0)},
			all:   []int{0},
			added: []int{0},
		},
		{
			name: "closed",
			steps: []step{setting("a", 3), resume, setting("b", 4), clearing("a"),
				func(_ *testing.T, w *waitctx.WaitCtx) { w.Close() }},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := waitctx.New()
			for _, s := range tt.steps {
				s(t, w)
			}
			wantAll(t, w, tt.all...)
			wantChanged(t, w, tt.added, tt.deleted)
			wantChanged(t, w, tt.added, tt.deleted) // asking changes nothing
		})
	}
}

func TestListsAreAppendedTo(t *testing.T) {
	w := waitctx.New()
	set(t, w, "old", 3)
	w.ResetChanges()
	mustClear(t, w, "old")
	set(t, w, "new", 4)
	if got, want := w.AllFDs([]int{7}), []int{7, 4}; !slices.Equal(got, want) {
		t.Errorf("AllFDs([7]) = %v, want %v", got, want)
	}
	a, d := w.ChangedFDs([]int{8}, []int{9})
	if !slices.Equal(a, []int{8, 4}) || !slices.Equal(d, []int{9, 3}) {
		t.Errorf("ChangedFDs([8], [9]) = %v, %v, want [8 4], [9 3]", a, d)
	}
}

func TestListsDoNotAllocate(t *testing.T) {
	w := waitctx.New()
	for fd := range 8 {
		set(t, w, fd, fd)
	}
	w.ResetChanges()
	for fd := range 4 {
		mustClear(t, w, fd)
		set(t, w, fd, 10+fd)
	}
	all, added, deleted := make([]int, 0, 8), make([]int, 0, 4), make([]int, 0, 4)
	allocs := testkit.AllocsPerRun(100, func() {
		all = w.AllFDs(all[:0])
		added, deleted = w.ChangedFDs(added[:0], deleted[:0])
	})
	if len(all) != 8 || len(added) != 4 || len(deleted) != 4 {
		t.Fatalf("lists of %d, %d and %d, want 8, 4 and 4", len(all), len(added), len(deleted))
	}
	if allocs != 0 {
		t.Errorf("AllFDs and ChangedFDs allocate %v times, want 0", allocs)
	}
}

// A connection's WaitCtx is filled and emptied for every wait of its life.
func TestReuseDoesNotAllocate(t *testing.T) {
	w := waitctx.New()
	var key any = "key"
	allocs := testkit.AllocsPerRun(100, func() {
		if err := w.SetWaitFD(key, 3, nil, nil); err != nil {
			t.Fatal(err)
		}
		w.ResetChanges()
		w.ClearFD(key)
		w.ResetChanges()
		w.Close()
	})
	if allocs != 0 {
		t.Errorf("a wait allocates %v times, want 0", allocs)
	}
}

func TestFDReturnsWhatWasSet(t *testing.T) {
	type engineKey struct{ id int }
	w := waitctx.New()
	data := new(int)
	for _, key := range []any{nil, "name", engineKey{1}, engineKey{2}, new(int)} {
		if err := w.SetWaitFD(key, 3, data, nil); err != nil {
			t.Fatalf("SetWaitFD(%v): %v", key, err)
		}
		if fd, got, ok := w.FD(key); fd != 3 || got != any(data) || !ok {
			t.Errorf("FD(%v) = %d, %v, %t, want 3, %v, true", key, fd, got, ok, data)
		}
		mustClear(t, w, key)
		if fd, got, ok := w.FD(key); fd != -1 || got != nil || ok {
			t.Errorf("FD(%v) after ClearFD = %d, %v, %t, want -1, nil, false", key, fd, got, ok)
		}
		if w.ClearFD(key) {
			t.Errorf("second ClearFD(%v) = true, want false", key)
		}
	}
}

// A key that cannot be compared was never registered, which is all FD and
// ClearFD have to say about it.
func TestUncomparableKeyIsNotFound(t *testing.T) {
	w := waitctx.New()
	set(t, w, "key", 3)
	if _, _, ok := w.FD([]int{1}); ok {
		t.Error("FD finds a slice")
	}
	if w.ClearFD([]int{1}) {
		t.Error("ClearFD finds a slice")
	}
}

func TestShadowedKeys(t *testing.T) {
	w := waitctx.New()
	set(t, w, "key", 3)
	set(t, w, "other", 9)
	set(t, w, "key", 4)
	set(t, w, "key", 5)
	wantAll(t, w, 3, 9, 4, 5)
	for _, want := range []int{5, 4, 3} {
		if fd, _, ok := w.FD("key"); fd != want || !ok {
			t.Fatalf("FD = %d, %t, want %d, true", fd, ok, want)
		}
		mustClear(t, w, "key")
	}
	if _, _, ok := w.FD("key"); ok {
		t.Error("FD finds a fourth registration")
	}
	wantAll(t, w, 9)
}

func TestEvents(t *testing.T) {
	const both = waitctx.Readable | waitctx.Writable
	w := waitctx.New()
	set(t, w, "r3", 3)
	for key, ev := range map[string]waitctx.Events{"w3": waitctx.Writable, "rw4": both} {
		fd := int(key[len(key)-1] - '0')
		if err := w.SetWaitFDEvents(key, fd, ev, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	w.ResetChanges() // so that what is cleared below stays until the next one

	want := func(fd int, want waitctx.Events) {
		t.Helper()
		if got := w.Events(fd); got != want {
			t.Errorf("Events(%d) = %#x, want %#x", fd, got, want)
		}
	}
	want(3, both)
	want(4, both)
	want(5, 0)
	mustClear(t, w, "r3")
	want(3, waitctx.Writable)
	mustClear(t, w, "w3")
	want(3, 0)
	want(4, both)
}

func TestErrorsNameWhatWasRefused(t *testing.T) {
	type holder struct{ v any }
	tests := []struct {
		name   string
		key    any
		fd     int
		events waitctx.Events
		want   error
		names  string
	}{
		{"fd -1", "key", -1, waitctx.Readable, waitctx.ErrInvalidFD, "-1"},
		{"fd -42", "key", -42, waitctx.Readable, waitctx.ErrInvalidFD, "-42"},
		{"slice key", []int{1}, 7, waitctx.Readable, waitctx.ErrInvalidKey, "[]int"},
		{"func key", func() {}, 7, waitctx.Readable, waitctx.ErrInvalidKey, "func()"},
		{"key with a map in it", holder{map[int]int{}}, 7, waitctx.Readable, waitctx.ErrInvalidKey, "holder"},
		{"no events", "key", 7, 0, waitctx.ErrInvalidEvents, "0x0"},
		{"unknown events", "key", 7, 0x14 | waitctx.Readable, waitctx.ErrInvalidEvents, "0x15"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := waitctx.New()
			err := w.SetWaitFDEvents(tt.key, tt.fd, tt.events, nil, nil)
			if !errors.Is(err, tt.want) {
				t.Fatalf("error %v, want %v", err, tt.want)
			}
			if !strings.Contains(err.Error(), tt.names) {
				t.Errorf("error %q does not name %s", err, tt.names)
			}
			wantAll(t, w)
			wantChanged(t, w, nil, nil)
		})
	}
}

// A call is one call of a cleanup.
type call struct {
	w    *waitctx.WaitCtx
	key  any
	fd   int
	data any
}

func TestCloseCleansUpOnce(t *testing.T) {
	w := waitctx.New()
	var calls []call
	record := func(w *waitctx.WaitCtx, key any, fd int, data any) {
		calls = append(calls, call{w, key, fd, data})
	}
	setAll := func(keys ...string) {
		for _, key := range keys {
			if err := w.SetWaitFD(key, int(key[0]), "data of "+key, record); err != nil {
				t.Fatal(err)
			}
		}
	}
	setAll("seen", "cleared when seen", "twice")
	w.ResetChanges()
	setAll("twice", "new", "cleared when new")
	set(t, w, "no cleanup", 9)
	mustClear(t, w, "cleared when seen")
	mustClear(t, w, "cleared when new")
	if len(calls) != 0 {
		t.Fatalf("ClearFD or ResetChanges called a cleanup: %v", calls)
	}

	var want []call
	for _, key := range []string{"seen", "twice", "twice", "new"} {
		want = append(want, call{w, key, int(key[0]), "data of " + key})
	}
	if err := w.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if !slices.Equal(calls, want) {
		t.Errorf("Close cleaned up %v, want %v", calls, want)
	}
	if err := w.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if len(calls) != len(want) {
		t.Errorf("second Close cleaned up %v", calls[len(want):])
	}
	wantAll(t, w)
}

func TestCloseCallsEveryCleanupDespiteAPanic(t *testing.T) {
	w := waitctx.New()
	var called []any
	note := func(_ *waitctx.WaitCtx, key any, _ int, _ any) {
		called = append(called, key)
		if key == "bad" {
			panic("bad cleanup")
		}
	}
	for i, key := range []string{"first", "bad", "last"} {
		if err := w.SetWaitFD(key, i, nil, note); err != nil {
			t.Fatal(err)
		}
	}
	func() {
		defer func() {
			if v := recover(); v != "bad cleanup" {
				t.Errorf("Close panicked with %v", v)
			}
		}()
		w.Close()
	}()
	if want := []any{"first", "bad", "last"}; !slices.Equal(called, want) {
		t.Errorf("cleanups called: %v, want %v", called, want)
	}
	w.Close()
	if len(called) != 3 {
		t.Errorf("a second Close called cleanups again: %v", called)
	}
}

func TestCloseForgetsEverything(t *testing.T) {
	w := waitctx.New()
	set(t, w, "key", 3)
	w.SetCallback(func(any) error { return nil }, nil)
	w.Callback()
	w.SetStatus(waitctx.StatusOK)
	w.Close()

	wantAll(t, w)
	wantChanged(t, w, nil, nil)
	if _, _, ok := w.Callback(); ok || w.CallbackTaken() {
		t.Error("the callback outlives Close")
	}
	if got := w.Status(); got != waitctx.StatusUnsupported {
		t.Errorf("status %v outlives Close", got)
	}
	set(t, w, "key", 4) // the next job's
	wantAll(t, w, 4)
	wantChanged(t, w, []int{4}, nil)
}

func TestCleanupMayUseTheWaitCtx(t *testing.T) {
	tests := []struct {
		name  string
		inner func(w *waitctx.WaitCtx)
		all   []int // after Close
	}{
		{"closes", func(w *waitctx.WaitCtx) { w.Close() }, nil},
		{"clears its key", func(w *waitctx.WaitCtx) { w.ClearFD("key") }, nil},
		{"clears the next key", func(w *waitctx.WaitCtx) { w.ClearFD("next") }, nil},
		{"resets", func(w *waitctx.WaitCtx) { w.ResetChanges() }, nil},
		{"lists", func(w *waitctx.WaitCtx) { w.AllFDs(nil); w.ChangedFDs(nil, nil) }, nil},
		{"registers", func(w *waitctx.WaitCtx) { w.SetWaitFD("late", 8, nil, nil) }, []int{8}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := waitctx.New()
			var fds []int
			cleanup := func(w *waitctx.WaitCtx, key any, fd int, _ any) {
				fds = append(fds, fd)
				if key == "key" {
					tt.inner(w)
				}
			}
			for fd, key := range []string{"first", "key", "next"} {
				if err := w.SetWaitFD(key, fd, nil, cleanup); err != nil {
					t.Fatal(err)
				}
			}
			w.Close()
			if want := []int{0, 1, 2}; !slices.Equal(fds, want) {
				t.Errorf("cleaned up %v, want %v", fds, want)
			}
			wantAll(t, w, tt.all...)
		})
	}
}

// model is a WaitCtx written for clarity alone: what there was when the job
// last resumed, and what there is now.
type model struct {
	before, now []modelFD
	serial      int
}

type modelFD struct{ serial, key, fd int }

func (m *model) set(key, fd int) {
	m.serial++
	m.now = append(m.now, modelFD{m.serial, key, fd})
}

func (m *model) clear(key int) bool {
	for i, f := range slices.Backward(m.now) {
		if f.key == key {
			m.now = slices.Delete(slices.Clone(m.now), i, i+1)
			return true
		}
	}
	return false
}

func (m *model) resume() { m.before = slices.Clone(m.now) }

// fdsOf returns the descriptors of those of a that are not in b.
func fdsOf(a, b []modelFD) (fds []int) {
	for _, f := range a {
		if !slices.Contains(b, f) {
			fds = append(fds, f.fd)
		}
	}
	return fds
}

// TestModel compares a WaitCtx with the model over many random lives.
func TestModel(t *testing.T) {
	for seed := range uint64(500) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		w, m := waitctx.New(), new(model)
		var cleaned []int
		cleanup := func(_ *waitctx.WaitCtx, _ any, fd int, _ any) { cleaned = append(cleaned, fd) }
		for range 60 {
			key, fd := rnd.IntN(5), rnd.IntN(8)
			switch rnd.IntN(5) {
			case 0, 1:
				if err := w.SetWaitFD(key, fd, nil, cleanup); err != nil {
					t.Fatal(err)
				}
				m.set(key, fd)
			case 2, 3:
				if got, want := w.ClearFD(key), m.clear(key); got != want {
					t.Fatalf("seed %d: ClearFD(%d) = %t, want %t", seed, key, got, want)
				}
			case 4:
				w.ResetChanges()
				m.resume()
			}
			wantAll(t, w, fdsOf(m.now, nil)...)
			wantChanged(t, w, fdsOf(m.now, m.before), fdsOf(m.before, m.now))
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		}
		w.Close()
		if want := fdsOf(m.now, nil); !slices.Equal(cleaned, want) {
			t.Fatalf("seed %d: Close cleaned up %v, want %v", seed, cleaned, want)
		}
	}
}
