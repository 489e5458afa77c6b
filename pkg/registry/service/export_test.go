package service

import "time"

// SetSweptPatience changes how long a publish waits for sweeps.
func (s *Service) SetSweptPatience(d time.Duration) { s.SweptPatience = d }

// SetPutTime changes how long storing one blob may take.
func (s *Service) SetPutTime(d time.Duration) { s.PutTime = d }
