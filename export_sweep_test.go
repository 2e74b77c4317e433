package paywall

// HoldSweeps keeps sweeps, imports and restores of the running configuration from beginning.
func HoldSweeps() (release func(), err error) {
	app, err := runningApp()
	if err != nil {
		return nil, err
	}
	app.store.maintenance.Lock()
	return app.store.maintenance.Unlock, nil
}
