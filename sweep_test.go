package paywall_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-axra/paywall"
	"github.com/caddy-axra/paywall/internal/faults"
)

const kept = 540 * day

// soldLongAgo fills the ledger with a purchase that has ended long ago.
func (w *world) soldLongAgo() {
	w.t.Helper()
	w.visitor().buy("/premium/article.html", cardGood).wantPaid(w.t)
	w.pass(30*day + kept + time.Hour)
}

func (w *world) sweepIfDue() {
	w.t.Helper()
	mustDo(w.t, paywall.SweepIfDue(w.t.Context()))
}

func TestTheLedgerIsSweptOnceAWeek(t *testing.T) {
	w := newWorld(t, worldOptions{})
	w.soldLongAgo()
	w.sweepIfDue()
	if w.facts("*") != 0 {
		t.Errorf("the first sweep leaves %d records", w.facts("*"))
	}
	w.soldLongAgo()
	w.pass(-kept - 28*day - time.Hour) // two days after the sweep
	w.sweepIfDue()
	if w.facts("paid") != 1 {
		t.Error("what has not ended is swept")
	}
	w.pass(kept + 30*day + 6*day)
	w.sweepIfDue()
	if w.facts("*") != 0 {
		t.Errorf("the next sweep leaves %d records", w.facts("*"))
	}
}

// A week has to pass, or an hour where one did not come to its end.
func TestWhenASweepIsDue(t *testing.T) {
	for name, test := range map[string]struct {
		record string
		due    bool
	}{
		"never":                       {"", true},
		"garbled":                     {"{", true},
		"a week ago":                  {`{"v":1,"started":"-169h","done":"-169h"}`, true},
		"less than a week ago":        {`{"v":1,"started":"-167h","done":"-167h"}`, false},
		"another node has begun":      {`{"v":1,"started":"-30m","done":"-169h"}`, false},
		"another node did not finish": {`{"v":1,"started":"-61m","done":"-169h"}`, true},
		"the first did not finish":    {`{"v":1,"started":"-61m"}`, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, worldOptions{})
			w.soldLongAgo()
			if test.record != "" {
				record := test.record
				for _, ago := range []string{"-169h", "-167h", "-30m", "-61m"} {
					length, _ := time.ParseDuration(ago)
					record = strings.ReplaceAll(record, `"`+ago+`"`, w.now().Add(length).UTC().Format(`"`+time.RFC3339+`"`))
				}
				mustDo(t, os.WriteFile(filepath.Join(w.storage, "axra", "swept.json"), []byte(record), 0o600))
			}
			w.sweepIfDue()
			if swept := w.facts("*") == 0; swept != test.due {
				t.Errorf("swept: %t, want %t", swept, test.due)
			}
		})
	}
}

func TestWithKeepForeverNothingIsSwept(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: strings.Replace(fiveLines, "\t\tapi_key ", "\t\tkeep forever\n\t\tapi_key ", 1)})
	w.soldLongAgo()
	w.sweepIfDue()
	if w.facts("paid") != 1 {
		t.Error("it is gone")
	}
}

// A sweep that fails is tried again, by whichever node looks next.
func TestASweepThatFailsIsTriedAgain(t *testing.T) {
	w, disk := newFaultyWorldOf(t, fiveLines)
	w.soldLongAgo()
	disk.Set(faults.Fails, "axra/ledger/given")
	if err := paywall.SweepIfDue(t.Context()); err == nil {
		t.Error("a sweep on a storage that fails goes well")
	}
	disk.Heal()
	w.pass(2 * time.Hour)
	w.sweepIfDue()
	if w.facts("*") != 0 {
		t.Errorf("%d records are left", w.facts("*"))
	}
}

// W6: raising keep brings nothing back to life that a shorter one has swept.
func TestW6AnEventOlderThanTheShortestKeepOpensNothing(t *testing.T) {
	short := strings.Replace(fiveLines, "\t\tapi_key ", "\t\tkeep 60d\n\t\tapi_key ", 1)
	w := newWorld(t, worldOptions{Caddyfile: short})
	v := w.visitor()
	_, event := v.started("/premium/article.html")
	body := encode(t, event)
	if answer := w.deliver(body, sign(body, webhookSecret)); answer.status != http.StatusOK {
		t.Fatalf("%d", answer.status)
	}
	w.pass(30*day + 61*day)
	w.sweepIfDue()
	if w.facts("*") != 0 {
		t.Fatal("it is not swept")
	}
	w.load(fiveLines) // keep 540d
	if answer := w.deliver(body, sign(body, webhookSecret)); answer.status != http.StatusOK {
		t.Fatalf("%d", answer.status)
	}
	v.open("/premium/article.html").wantCheckout(t, w)
}

// A time that cannot be is no reason to take a payment for an old one.
func TestAnUnbelievableTimeCountsFromNow(t *testing.T) {
	w := newWorld(t, worldOptions{})
	w.soldLongAgo()
	w.sweepIfDue()
	for _, stated := range []string{"1970-01-01T00:00:00Z", "2000-01-01T00:00:00Z", "9999-01-01T00:00:00Z"} {
		v := w.visitor()
		_, event := v.started("/premium/article.html")
		event["timestamp"] = stated
		body := encode(t, event)
		if answer := w.deliver(body, sign(body, webhookSecret)); answer.status != http.StatusOK {
			t.Fatalf("%d", answer.status)
		}
		v.browse("/premium/article.html").wantPaid(t)
	}
}
