package service

import "time"

// SetSweptPatience changes how long a publish waits for sweeps.
func (s *Service) SetSweptPatience(d time.Duration) { s.SweptPatience = d }

// SetPutTime changes how long storing one blob may take.
func (s *Service) SetPutTime(d time.Duration) { s.PutTime = d }

// SetStraightFor changes how long a file may take that is not kept as it arrives.
func (s *Service) SetStraightFor(d time.Duration) { s.StraightFor = d }
