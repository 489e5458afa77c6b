package main

import (
	"context"
	"log/slog"

	"github.com/coulomb/artifact-store/controllers"
	"github.com/coulomb/artifact-store/controllers/cronjobs"
	"github.com/coulomb/artifact-store/controllers/declared"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/service"
	"github.com/coulomb/artifact-store/pkg/registry/verify"
)

// verifier runs spec.verification in this process, for backends that pods cannot read
// and without a cluster.
func verifier(service *service.Service, logger *slog.Logger) controllers.Verify {
	return func(ctx context.Context, backend string, run declared.Verification) error {
		report, err := service.VerifyBackend(ctx, backend, verifyOptions(run), nil)
		level := slog.LevelInfo
		if err != nil || report.Corrupt+report.Missing+report.Unreachable > 0 {
			level = slog.LevelWarn
		}
		logger.Log(ctx, level, "a verification ended", "backend", backend, "objects", report.Objects, "checked", report.CheckedObjects, "verified", report.Verified,
			"corrupt", report.Corrupt, "missing", report.Missing, "unreachable", report.Unreachable, "timeLimitReached", report.TimeLimitReached, "error", err)
		return err
	}
}

// verificationPods configures the pods that verify in a cluster. Their tokens have the audience that this manager requires.
func verificationPods(o options) cronjobs.PodSettings {
	return cronjobs.PodSettings{Image: o.image, Server: o.verifyServer, CA: o.verifyCA, Audience: o.tokenAudience}
}

func verifyOptions(run declared.Verification) registry.VerifyOptions {
	o := registry.VerifyOptions{Concurrency: run.Concurrency, Bandwidth: run.Bandwidth, TimeLimit: run.Deadline}
	if run.Rolling {
		o.Mode, o.RollingPeriod, o.RollingInterval = verify.Rolling, run.RollingPeriod, run.RollingInterval
	}
	return o
}
