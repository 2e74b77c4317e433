package ledger

// NoteWrite notes the outcome of a write.
func (l *Ledger) NoteWrite(err error) { l.health.wrote(err) }
