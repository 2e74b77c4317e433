package contract

import (
	"context"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/internal/exampletest"
)

// docURL stands for the resource in the documentation.
const docURL = "https://example.com/files/guide.pdf"

// readScript takes the script out of docs/programs.md and changes its address.
func readScript(t *testing.T, url string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "programs.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\nThe whole way, ")
	_, rest, _ = strings.Cut(rest, "\n```sh\n")
	script, _, closed := strings.Cut(rest, "\n```\n")
	if !closed || strings.Count(script, docURL) != 1 {
		t.Fatalf("docs/programs.md has no script with %s:\n%s", docURL, script)
	}
	return strings.ReplaceAll(script, docURL, url) + "\n"
}

// script is the script, running. In place of sleep it has a program that says that
// it was called, and is quick.
type script struct {
	t      *testing.T
	folder string
	slept  string // the file that says so
	cmd    *exec.Cmd
	output exampletest.Buffer
	exited chan error
}

func startScript(t *testing.T, url string) *script {
	t.Helper()
	return startScriptIn(t, t.TempDir(), url)
}

// startScriptIn runs it in a folder.
func startScriptIn(t *testing.T, folder, url string) *script {
	t.Helper()
	for _, tool := range []string{"bash", "curl", "jq"} {
		if _, err := exec.LookPath(tool); err != nil {
			if exampletest.InCI() {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
	tools := t.TempDir()
	s := &script{t: t, folder: folder, slept: filepath.Join(tools, "slept"), exited: make(chan error, 1)}
	file := filepath.Join(tools, "buy.sh")
	for name, content := range map[string]string{
		file:                          readScript(t, url),
		filepath.Join(tools, "sleep"): "#!/bin/sh\n: >'" + s.slept + "'\nPATH=${PATH#*:} exec sleep 0.1\n",
	} {
		if err := os.WriteFile(name, []byte(content), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	s.cmd = exec.CommandContext(ctx, "bash", file)
	s.cmd.Dir = s.folder
	s.cmd.Env = append(os.Environ(), "PATH="+tools+string(os.PathListSeparator)+os.Getenv("PATH"),
		"HOME="+tools, "no_proxy=*") // nobody's .curlrc, and no proxy
	s.cmd.Stdout, s.cmd.Stderr = &s.output, &s.output
	s.cmd.WaitDelay = time.Second // for a sleep that outlives it
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		s.exited <- s.cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		stop()
		<-ended
		if t.Failed() {
			t.Logf("output of the script:\n%s", s.output.String())
		}
	})
	return s
}

// end waits for the script's end.
func (s *script) end() error {
	s.t.Helper()
	select {
	case err := <-s.exited:
		return err
	case <-time.After(exampletest.Deadline):
		s.t.Fatal("the script does not end")
		return nil
	}
}

// asksAgain waits until the script has been answered, and waits.
func (s *script) asksAgain() {
	s.t.Helper()
	for range 2 { // the first may have begun before
		_ = os.Remove(s.slept) // which need not be there
		exampletest.Eventually(s.t, "the script waits", func() bool {
			_, err := os.Stat(s.slept)
			return err == nil
		})
	}
}

// checkout waits for the address where to pay.
func (s *script) checkout() string {
	s.t.Helper()
	var address string
	exampletest.Eventually(s.t, "the script says where to pay", func() bool {
		_, after, _ := strings.Cut(s.output.String(), "Pay here: ")
		line, _, complete := strings.Cut(after, "\n")
		address = line
		return complete
	})
	return address
}

func TestTheScriptBuysAndDownloads(t *testing.T) {
	e := exampletest.Start(t, binary)
	const sheet = "/sheets/january.txt"
	s := startScript(t, e.Site+sheet)
	address := s.checkout()
	s.asksAgain()
	mend := e.BreakLedger()
	s.asksAgain()
	mend()
	payByForm(t, address, cardGood)
	if err := s.end(); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(s.folder, path.Base(sheet)))
	if err != nil {
		t.Fatal(err)
	}
	want := e.File(sheet)
	if string(got) != want {
		t.Errorf("downloaded %d bytes of %d:\n%.500s", len(got), len(want), got)
	}
	if left, _ := os.ReadDir(s.folder); len(left) != 2 {
		t.Errorf("the script leaves %v, beside the file and its token", left)
	}

	// Run again, it pays for nothing again.
	if err := os.Remove(filepath.Join(s.folder, path.Base(sheet))); err != nil {
		t.Fatal(err)
	}
	again := startScriptIn(t, s.folder, e.Site+sheet)
	if err := again.end(); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(again.output.String(), "Pay here: ") {
		t.Error("the script buys again")
	}
	if again, err := os.ReadFile(filepath.Join(s.folder, path.Base(sheet))); err != nil || string(again) != want {
		t.Errorf("downloaded again: %v", err)
	}
}

func TestTheScriptEndsWhereNothingCanBeBought(t *testing.T) {
	e := exampletest.Start(t, binary)
	e.Control("faults", `{"kind":"503"}`)
	s := startScript(t, e.Site+"/sheets/january.txt")
	if err := s.end(); err == nil {
		t.Error("the script says that it succeeded")
	}
	if strings.Contains(s.output.String(), "Pay here: ") {
		t.Error("the script says where to pay")
	}
}
