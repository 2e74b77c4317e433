package webhook

import (
	"slices"
	"testing"
)

func TestRejectedKeepsTheLastOfEachKind(t *testing.T) {
	var rejected Rejected
	want := func(methods ...string) {
		t.Helper()
		kept := []string{}
		for _, request := range rejected.All() {
			kept = append(kept, request.Reason)
		}
		if !slices.Equal(kept, methods) {
			t.Errorf("kept %q, want %q", kept, methods)
		}
	}
	if all := rejected.All(); all == nil || len(all) != 0 {
		t.Errorf("at first %v, want an empty list", all)
	}
	rejected.Keep(Captured{Reason: "junk"})
	rejected.Keep(Captured{Reason: "signed", Signed: true})
	rejected.Keep(Captured{Reason: "more junk"})
	want("signed", "more junk")
	rejected.Keep(Captured{Reason: "signed later", Signed: true})
	want("signed later", "more junk")
}

func TestShortID(t *testing.T) {
	for id, want := range map[string]string{"": "", "cs_123456789": "cs_123456789", "cs_1234567890": "cs_123456789…"} {
		if got := ShortID(id); got != want {
			t.Errorf("%q becomes %q, want %q", id, got, want)
		}
	}
}
