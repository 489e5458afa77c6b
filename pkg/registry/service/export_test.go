package service

import "time"

// SetSweptPatience changes how long a publish waits for sweeps.
func (s *Service) SetSweptPatience(d time.Duration) { s.sweptPatience = d }

// SetPutTime changes how long storing one blob may take.
func (s *Service) SetPutTime(d time.Duration) { s.putTime = d }

// SweepLife is how long what a dead sweep has left holds up a publish.
const SweepLife = sweepLife
