package preflight

import (
	"fmt"
	"io"
	"slices"
)

// Finding is one result of a check. It never quotes a secret.
type Finding struct {
	Level   string `json:"level"` // ok, warning, error, or unchecked for what cannot be checked from here
	Check   string `json:"check"`
	Subject string `json:"subject,omitempty"`
	Message string `json:"message"`
	Fix     string `json:"fix,omitempty"`
}

// Diagnosis is the outcome of `caddy axra check`.
type Diagnosis struct {
	Findings []Finding `json:"findings"`
}

// Count counts the findings of a level.
func (d *Diagnosis) Count(level string) (count int) {
	for _, finding := range d.Findings {
		if finding.Level == level {
			count++
		}
	}
	return count
}

// WriteText writes the diagnosis for people, with each fix below its finding.
func (d *Diagnosis) WriteText(out io.Writer) {
	for _, f := range d.Findings {
		if f.Subject != "" {
			f.Message = f.Subject + ": " + f.Message
		}
		fmt.Fprintf(out, "%-10s %s: %s\n", f.Level, f.Check, f.Message)
		if f.Fix != "" {
			fmt.Fprintf(out, "           fix: %s\n", f.Fix)
		}
	}
	fmt.Fprintf(out, "\nerrors: %d, warnings: %d\n", d.Count("error"), d.Count("warning"))
}

// severity is the level of a fault.
func severity(isWarning bool) string {
	if isWarning {
		return "warning"
	}
	return "error"
}

// report collects the findings of one check, each one once.
type report struct {
	check    string
	findings []Finding
}

func (r *report) add(level, subject, fix, format string, args ...any) {
	found := Finding{level, r.check, subject, fmt.Sprintf(format, args...), fix}
	if !slices.Contains(r.findings, found) {
		r.findings = append(r.findings, found)
	}
}

func (r *report) ok(subject, format string, args ...any) { r.add("ok", subject, "", format, args...) }

func (r *report) note(subject, format string, args ...any) {
	r.add("unchecked", subject, "", format, args...)
}

func (r *report) warn(subject, fix, format string, args ...any) {
	r.add("warning", subject, fix, format, args...)
}

func (r *report) fail(subject, fix, format string, args ...any) {
	r.add("error", subject, fix, format, args...)
}
