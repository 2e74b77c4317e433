package sandbox

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// restart closes a rig's sandbox and returns another one on the same file.
func restart(t *testing.T, r *rig, change func(*Config)) *rig {
	t.Helper()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	file, merchant := r.cfg.StateFile, r.merchant
	return newRig(t, func(c *Config) {
		c.StateFile, c.WebhookURL = file, merchant.URL
		if change != nil {
			change(c)
		}
	})
}

func withFile(t *testing.T) func(*Config) {
	file := filepath.Join(t.TempDir(), "state.json")
	return func(c *Config) { c.StateFile = file }
}

func TestStateSurvivesARestart(t *testing.T) {
	r := newRig(t, withFile(t))
	open, asked, done := r.session(anOrder), r.session(anOrder), r.session(anOrder)
	r.payByForm(asked, "4000 0025 0000 3155")
	payment := r.pay(done, visa).PaymentID
	collection := r.pay(r.local(), PayWith{Local: true}).CollectionID
	r.idle()

	r2 := restart(t, r, nil)
	if before, after := r.Sessions(), r2.Sessions(); len(before) != len(after) || before[0].CheckoutURL != after[0].CheckoutURL || string(before[0].Metadata["n"]) != string(after[0].Metadata["n"]) {
		t.Errorf("sessions:\n%+v\n%+v", before, after)
	}
	if r2.Sessions()[0].Amount != "5.00" {
		t.Errorf("amount %s", r2.Sessions()[0].Amount)
	}
	r2.idle()
	if len(r2.merchant.received()) != 0 || len(r.merchant.received()) != 3 {
		t.Error("what was delivered is delivered again")
	}
	if err := r2.Refund(payment); err != nil {
		t.Error(err)
	}
	if err := r2.CompleteCollection(collection); err != nil {
		t.Error(err)
	}
	r2.wantPage(r2.get(path(done, "")), 200, "Already paid")
	r2.wantPage(r2.get(path(open, "")), 200, "Pay 5.00 USD")
	r2.wantRedirect(r2.form(path(asked, "/3ds"), "answer", "approve"), successURL(asked))
}

func TestPendingDeliveriesSurviveARestart(t *testing.T) {
	r := newRig(t, withFile(t))
	r.merchant.answer = func(int) int { return 500 }
	out := r.pay(r.session(anOrder), visa)
	if err := r.Refund(out.PaymentID); err != nil {
		t.Fatal(err)
	}
	eventually(t, "attempts", func() bool { d := r.Deliveries(); return d[0].Tried > 0 && d[1].Tried > 0 })
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	tried := r.Deliveries()[0].Tried

	healthy := newMerchant(t)
	r2 := restart(t, r, func(c *Config) { c.WebhookURL = healthy.URL })
	r2.idle()
	for _, d := range r2.Deliveries() {
		if d.Status != StatusDelivered {
			t.Errorf("%s is %s", d.Event, d.Status)
		}
	}
	if got := r2.Deliveries()[0].Tried; got != tried+1 {
		t.Errorf("%d attempts, then %d", tried, got)
	}
	if got := healthy.events(); len(got) != 2 || !slices.Contains(got, EventPaymentRefunded) {
		t.Errorf("events %v", got)
	}
}

func TestHeldDeliveriesSurviveARestart(t *testing.T) {
	r := newRig(t, withFile(t))
	r.Hold()
	out := r.pay(r.session(anOrder), visa)
	want := []string{EventPaymentCompleted, EventPaymentSettled, EventPaymentDisputed, EventDisputeWon, EventPaymentRefunded}
	for _, do := range []func(string) error{r.Settle, r.Dispute, r.Win, r.Refund} {
		if err := do(out.PaymentID); err != nil {
			t.Fatal(err)
		}
	}
	target := newMerchant(t)
	r2 := restart(t, r, func(c *Config) { c.WebhookURL = target.URL })
	r2.idle()
	if len(target.received()) != 0 || !r2.Mode().Hold {
		t.Fatal("the hold was forgotten")
	}
	r2.Release()
	r2.idle()
	if got := target.events(); !slices.Equal(got, want) {
		t.Errorf("events %s", got)
	}
}

func TestLocalPaymentSettlesAfterARestart(t *testing.T) {
	r := newRig(t, func(c *Config) {
		withFile(t)(c)
		c.SettleAfter = 2 * time.Second
	})
	r.pay(r.local(), PayWith{Local: true})
	r.idle()
	r2 := restart(t, r, func(c *Config) {
		now := c.Now
		c.Now = func() time.Time { return now().Add(time.Minute) } // it is overdue
	})
	eventually(t, "the payment", func() bool { return len(r2.Payments()) == 1 })
}

func TestConfiguredWebhookURLSurvivesARestart(t *testing.T) {
	r := newRig(t, withFile(t))
	r.api("PUT", "/business/config", `{"webhookUrl":"http://localhost:1/hook"}`)
	r2 := restart(t, r, nil)
	if got := r2.WebhookURL(); got != "http://localhost:1/hook" {
		t.Errorf("URL %s", got)
	}
	r2.Reset()
	r3 := restart(t, r2, nil)
	if got := r3.WebhookURL(); got != r2.merchant.URL {
		t.Errorf("URL %s after Reset", got)
	}
}

// A crash leaves what was written last; it must be there soon after a change.
func TestStateIsWrittenWithoutClose(t *testing.T) {
	r := newRig(t, withFile(t))
	sess := r.session(anOrder)
	eventually(t, "the file", func() bool {
		text, err := os.ReadFile(r.cfg.StateFile)
		return err == nil && strings.Contains(string(text), sess.ID)
	})
	left, err := filepath.Glob(r.cfg.StateFile + ".*")
	if err != nil || len(left) > 1 { // one may be in the making
		t.Errorf("left behind: %v, %v", left, err)
	}
	if info, err := os.Stat(r.cfg.StateFile); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestBadStateFiles(t *testing.T) {
	for name, text := range map[string]string{"garbled": `{"version":1,`, "empty": "", "another version": `{"version":99}`} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "state.json")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := New(Config{StateFile: file}); err == nil {
				t.Error("no error")
			}
			if kept, err := os.ReadFile(file); err != nil || string(kept) != text {
				t.Error("the file was changed")
			}
		})
	}
	sb, err := New(Config{StateFile: filepath.Join(t.TempDir(), "none", "state.json")})
	if err != nil {
		t.Fatal(err)
	}
	if err := sb.Close(); err == nil {
		t.Error("a state that cannot be written is no error")
	}
}
