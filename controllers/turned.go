package controllers

import (
	"context"
	"log/slog"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/controllers/status"
)

// Conditions that turn are in the log of the process that writes or keeps the
// status: whoever reads only logs sees a backend fail, and why.

// logTurned tells of a backend's conditions that turned.
func logTurned(logger *slog.Logger, before, after *v1alpha1.StorageBackend) {
	logReady(logger, before, after)
	for _, kind := range []string{v1alpha1.ConditionVerified, v1alpha1.ConditionVerificationScheduled} {
		was, is := meta.FindStatusCondition(before.Status.Conditions, kind), meta.FindStatusCondition(after.Status.Conditions, kind)
		if !turned(was, is) || was == nil && is.Status == metav1.ConditionUnknown {
			continue
		}
		level := slog.LevelInfo
		if is.Status == metav1.ConditionFalse || slices.Contains([]string{status.ReasonLastRunFailed, status.ReasonVerificationOverdue, status.ReasonUnreadable}, is.Reason) {
			level = slog.LevelWarn
		}
		logger.Log(context.Background(), level, "verification", "backend", after.Name, "condition", kind, "status", string(is.Status), "reason", is.Reason, "message", is.Message)
	}
	const kind = v1alpha1.ConditionLogCurrent
	was, is := meta.FindStatusCondition(before.Status.Conditions, kind), meta.FindStatusCondition(after.Status.Conditions, kind)
	switch {
	case turned(was, is):
		logger.Warn("head mark", "backend", after.Name, "condition", kind, "status", string(is.Status), "reason", is.Reason, "message", is.Message)
	case was != nil && is == nil:
		logger.Info("head mark", "backend", after.Name, "condition", kind, "status", string(metav1.ConditionTrue))
	}
}

func logReady(logger *slog.Logger, before, after *v1alpha1.StorageBackend) {
	was := meta.FindStatusCondition(before.Status.Conditions, v1alpha1.ConditionReady)
	is := meta.FindStatusCondition(after.Status.Conditions, v1alpha1.ConditionReady)
	if !turned(was, is) {
		return
	}
	logger.Log(context.Background(), levelOf(*is), "backend", "backend", after.Name, "ready", string(is.Status), "reason", is.Reason, "message", is.Message, "id", after.Status.ID)
}

// logPolicyTurned tells of a policy's conditions that turned.
func logPolicyTurned(logger *slog.Logger, before, after *v1alpha1.RoutingPolicy) {
	for _, kind := range []string{v1alpha1.ConditionAccepted, v1alpha1.ConditionResolvedRefs, v1alpha1.ConditionReady} {
		was, is := meta.FindStatusCondition(before.Status.Conditions, kind), meta.FindStatusCondition(after.Status.Conditions, kind)
		if !turned(was, is) || was == nil && is.Status == metav1.ConditionTrue && kind != v1alpha1.ConditionReady {
			continue
		}
		logPolicy(logger, levelOf(*is), after.Name, *is)
	}
}

func logPolicy(logger *slog.Logger, level slog.Level, name string, c metav1.Condition) {
	logger.Log(context.Background(), level, "policy", "policy", name, "condition", c.Type, "status", string(c.Status), "reason", c.Reason, "message", c.Message)
}

// turned reports whether a condition has another status or reason than before.
func turned(was, is *metav1.Condition) bool {
	return is != nil && (was == nil || was.Status != is.Status || was.Reason != is.Reason)
}

func levelOf(c metav1.Condition) slog.Level {
	if c.Status != metav1.ConditionTrue || c.Reason == status.ReasonPartlyConflicted {
		return slog.LevelWarn
	}
	return slog.LevelInfo
}
