package paywall_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
)

// What cannot be read is said whatever is asked for, for programs as for people; a
// backup without it ends with an error.
func TestWhatCannotBeReadIsNeverLeftOutInSilence(t *testing.T) {
	w := office(t)
	w.visitor().buy("/premium/article.html", cardGood).wantPaid(t)
	mustDo(t, os.WriteFile(w.paidFact(), []byte("{"), 0o600))
	w.visitor().buy("/premium/article.html", cardGood).wantPaid(t)
	for _, args := range [][]string{
		{"list"}, {"list", "--json"}, {"list", "--state", "refunded"},
		{"report"}, {"report", "--csv"}, {"report", "--json"},
	} {
		out, aside, err := w.operateWith("", args...)
		if err != nil || !strings.Contains(aside, "1 records cannot be read") {
			t.Errorf("%v: %v, %q aside of\n%s", args, err, aside, out)
		}
		if strings.Contains(out, "cannot be read") {
			t.Errorf("%v says so to the program that reads it:\n%s", args, out)
		}
	}
	file := filepath.Join(t.TempDir(), "ledger.jsonl")
	out, err := w.operate("export", file)
	if err == nil || !strings.Contains(err.Error(), "NOT complete: 1 records") {
		t.Errorf("a backup that is not complete: %v", err)
	}
	if !strings.Contains(out, "records written to "+file) {
		t.Errorf("it is not written: %s", out)
	}
	if out, err := w.operate("export", "-"); err == nil || !strings.Contains(out, `"garbled":1`) {
		t.Errorf("%v\n%s", err, out)
	}
	_, aside, err := w.operateWith("", "import", file)
	if err != nil || !strings.Contains(aside, "1 records are missing") {
		t.Errorf("%v, %q", err, aside)
	}
}

func TestAnExportForPrograms(t *testing.T) {
	w := office(t)
	w.visitor().buy("/premium/article.html", cardGood).wantPaid(t)
	file := filepath.Join(t.TempDir(), "ledger.jsonl")
	var done struct {
		File             string
		Records, Garbled int
	}
	w.runJSON(&done, "export", file)
	raw, err := os.ReadFile(file)
	mustDo(t, err)
	if lines := strings.Count(string(raw), "\n"); done.File != file || done.Records == 0 || done.Records != lines-2 || done.Garbled != 0 {
		t.Errorf("%+v of %d lines", done, lines)
	}
}

func TestAReportOfNothingForPrograms(t *testing.T) {
	w := office(t)
	out := w.run("report", "--json")
	if !strings.Contains(out, `"lines": []`) || strings.Contains(out, "0001-01-01") {
		t.Errorf("%s", out)
	}
	if out := w.run("report", "--json", "--from", "2026-01"); !strings.Contains(out, `"from": "2026-01-01T00:00:00Z"`) {
		t.Errorf("%s", out)
	}
}

func TestErrorsAreSaidInWords(t *testing.T) {
	w := office(t)
	_, err := w.operate("link", "cs_unknown", w.site+"/premium/")
	if err == nil || strings.ContainsAny(err.Error(), `{}"`) || strings.Contains(err.Error(), "HTTP") || !strings.HasPrefix(err.Error(), "the ledger knows of no such purchase") {
		t.Errorf("%v", err)
	}
}

// Caddy has no types for these errors: the commands tell them apart by their words.
func TestCaddysErrorsReadAsTheCommandsExpect(t *testing.T) {
	answer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, `{"error":"no"}`, http.StatusConflict)
	}))
	address := answer.Listener.Addr().String()
	_, err := caddycmd.AdminAPIRequest(address, http.MethodGet, "/", nil, nil) //nolint:bodyclose // there is none with an error
	if err == nil || !strings.HasPrefix(err.Error(), `caddy responded with error: HTTP 409: {"error":"no"}`) {
		t.Errorf("an answer: %v", err)
	}
	answer.Close()
	_, err = caddycmd.AdminAPIRequest(address, http.MethodGet, "/", nil, nil) //nolint:bodyclose // there is none with an error
	if err == nil || !strings.HasPrefix(err.Error(), "performing request") {
		t.Errorf("no answer: %v", err)
	}

	// validate reads the environment before the configuration, and says which of them fails.
	folder := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(folder, name)
		mustDo(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	config := write("Caddyfile", good)
	for name, file := range map[string]string{
		"a file that is not there": filepath.Join(folder, "none"),
		"a file of something else": write("words", "no pairs\n"),
	} {
		if _, err := axra(t, "check", "--config", config, "--envfile", file); err == nil || !strings.Contains(err.Error(), "environment") {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The configuration that cannot exist is no fault of the environment.
	if _, err := axra(t, "check", "--config", filepath.Join(folder, "none"), "--envfile", write("env", "PW_NOTHING=1\n")); err == nil || !strings.Contains(err.Error(), "not ready") {
		t.Errorf("a good file: %v", err)
	}
	mustDo(t, os.Unsetenv("PW_NOTHING"))
}

func TestWhatTalksToNoCaddyTakesNoAddress(t *testing.T) {
	for _, args := range [][]string{{"check"}, {"webhook", "inspect", "-"}} {
		_, err := axra(t, append(args, "--address", "localhost:2019")...)
		if err == nil || !strings.Contains(err.Error(), "leave out --address") {
			t.Errorf("%v: %v", args, err)
		}
		if help, err := axra(t, append(args, "--help")...); err != nil || strings.Contains(help, "--address") || !strings.Contains(help, "--envfile") {
			t.Errorf("%v: %v\n%s", args, err, help)
		}
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
	if _, _, err := w.operateWith(strings.Repeat("x", 1<<20+1), "webhook", "replay", "-"); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("%v", err)
	}
}

func TestAReplayTakesEachRequestOfAFile(t *testing.T) {
	w := office(t)
	session, event := w.visitor().started("/premium/article.html")
	body := encode(t, event)
	request := func(signature string) map[string]any {
		return map[string]any{"headers": map[string][]string{"X-Axra-Signature": {signature}}, "body_base64": body}
	}
	forged, signed := request("forged"), request(sign(body, webhookSecret))
	file := func(requests ...map[string]any) string {
		raw, err := json.Marshal(requests)
		mustDo(t, err)
		return string(raw)
	}
	replay := func(input string, args ...string) (out, aside string, err error) {
		return w.operateWith(input, append([]string{"webhook", "replay", "-"}, args...)...)
	}
	if out, _, err := replay(file(forged, forged)); err == nil || !strings.Contains(err.Error(), "none of its requests was taken") {
		t.Errorf("%v %s", err, out)
	}
	if _, _, err := replay(file(forged, signed), "--trust"); err == nil || !strings.Contains(err.Error(), "holds 2 requests") {
		t.Errorf("strangers are trusted: %v", err)
	}
	if _, _, err := replay("[]"); err == nil || !strings.Contains(err.Error(), "no request in it") {
		t.Errorf("nothing: %v", err)
	}
	if w.facts("paid") != 0 {
		t.Fatal("something was taken")
	}
	out, aside, err := replay(file(forged, signed))
	if err != nil || !strings.Contains(out, session+": paid") || !strings.Contains(aside, "not taken: ") {
		t.Errorf("%v %s %s", err, out, aside)
	}
	out, _, err = replay(file(signed, forged), "--json")
	var results []struct{ Outcome, Error string }
	if jsonErr := json.Unmarshal([]byte(out), &results); err != nil || jsonErr != nil || len(results) != 2 || results[0].Outcome != "known" || results[1].Error == "" {
		t.Errorf("%v %v %s", err, jsonErr, out)
	}
}
