package paywall_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestErrorsAreSaidInWords(t *testing.T) {
	w := office(t)
	_, err := w.operate("link", "cs_unknown", w.site+"/premium/")
	if err == nil || strings.ContainsAny(err.Error(), `{}"`) || strings.Contains(err.Error(), "HTTP") || !strings.HasPrefix(err.Error(), "no such purchase") {
		t.Errorf("%v", err)
	}
}

// A file that `inspect` finds signed is taken: also one that an editor has changed.
func TestAReplayReadsTheBodyAsInspectDoes(t *testing.T) {
	w := office(t)
	session, event := w.visitor().started("/premium/article.html")
	body := encode(t, event)
	file := "X-Axra-Signature: " + sign(body, webhookSecret) + "\n\n" + string(body) + "\n"
	out, _, err := w.operateWith(file, "webhook", "replay", "-")
	if err != nil || !strings.Contains(out, session+": paid") {
		t.Errorf("%v %s", err, out)
	}
	changed := strings.Replace(file, `"event"`, `"event" `, 1)
	if _, _, err := w.operateWith(changed, "webhook", "replay", "-"); err == nil || !strings.Contains(err.Error(), "X-Axra-Signature") {
		t.Errorf("a body that nobody signed: %v", err)
	}
}

func TestAReplayThatChangesNothingIsNoSuccess(t *testing.T) {
	w := office(t)
	_, event := w.visitor().started("/premium/article.html")
	without := func(change func(event, data map[string]any)) string {
		var raw map[string]any
		mustDo(t, json.Unmarshal(encode(t, event), &raw))
		data, ok := raw["data"].(map[string]any)
		if !ok {
			t.Fatalf("the event has no data: %v", raw)
		}
		change(raw, data)
		return string(encode(t, raw))
	}
	replay := func(input string, args ...string) (string, error) {
		out, _, err := w.operateWith(input, append([]string{"webhook", "replay", "-", "--trust"}, args...)...)
		return out, err
	}
	old := string(encode(t, event))
	w.pass(541 * day)
	event["timestamp"] = w.now().Format(time.RFC3339)
	foreign := without(func(_, data map[string]any) { data["metadata"] = map[string]any{"sessionId": "cs_x"} })
	for name, c := range map[string]struct{ input, outcome, words string }{
		"no metadata":         {foreign, "foreign", "it lacks the metadata of this installation (paywall_…)"},
		"too old":             {old, "stale", "older than `keep`"},
		"an unknown event":    {without(func(event, _ map[string]any) { event["event"] = "payment.sent" }), "unknown", "compare its name"},
		"terms cut off":       {without(func(_, data map[string]any) { delete(metadataOf(t, data), "paywall_pass") }), "malformed", "its metadata cannot be read"},
		"a refund of nothing": {`{"event":"payment.refunded","data":{}}`, "unmatched", "neither a session nor a payment"},
		"too little":          {without(func(_, data map[string]any) { data["amount"] = 3 }), "mismatch", "it is recorded and opens nothing"},
	} {
		out, err := replay(c.input)
		if err == nil || !strings.Contains(err.Error(), "no visitor gains or loses access") {
			t.Errorf("%s ends with %v", name, err)
		}
		if !strings.Contains(out, ": "+c.outcome+": ") || !strings.Contains(out, c.words) {
			t.Errorf("%s: %s", name, out)
		}
	}
	if out, err := replay(foreign, "--json"); err == nil || !strings.Contains(out, `"outcome": "foreign"`) {
		t.Errorf("for programs: %v %s", err, out)
	}
	if out := w.run("list", "--status", "active"); !strings.HasPrefix(out, "none") {
		t.Error("something was recorded as paid")
	}
	// What is known already has done what it should.
	good := string(encode(t, event))
	for _, words := range []string{": paid: the payment is recorded", ": known: it is in the ledger already"} {
		if out, err := replay(good); err != nil || !strings.Contains(out, words) {
			t.Errorf("%v %s", err, out)
		}
	}
}

func metadataOf(t *testing.T, data map[string]any) map[string]any {
	t.Helper()
	metadata, ok := data["metadata"].(map[string]any)
	if !ok {
		t.Fatalf("no metadata in %v", data)
	}
	return metadata
}

func TestAPaymentThatDoesNotFitIsShownAsSuch(t *testing.T) {
	w := office(t)
	session, event := w.visitor().started("/premium/article.html")
	var raw map[string]any
	mustDo(t, json.Unmarshal(encode(t, event), &raw))
	data, _ := raw["data"].(map[string]any)
	data["amount"] = 3
	if _, _, err := w.operateWith(string(encode(t, raw)), "webhook", "replay", "-", "--trust"); err == nil {
		t.Fatal("3 USD are enough")
	}
	shown := w.run("show", session)
	if !strings.Contains(shown, "3.00 USD") || !strings.Contains(shown, "5.00 USD") || !strings.Contains(shown, "status: mismatched") {
		t.Errorf("it is shown as\n%s", shown)
	}
	if listed := w.run("list", "--status", "mismatched"); !strings.Contains(listed, "3.00 USD") {
		t.Errorf("it is listed as\n%s", listed)
	}
	var found struct {
		Status   string
		Payments []struct{ Paid, Asked string }
	}
	w.runJSON(&found, "show", session)
	if found.Status != "mismatched" || len(found.Payments) != 1 || found.Payments[0].Asked != "5.00 USD" || found.Payments[0].Paid != "3.00 USD" {
		t.Errorf("for programs: %+v", found)
	}
	if out := w.run("report"); !strings.Contains(out, "lines: none") || !strings.Contains(out, "mismatched: 1") {
		t.Errorf("the report says\n%s", out)
	}
}
