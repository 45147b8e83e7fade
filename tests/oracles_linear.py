"""A linear model's rule in plain loops: every parameter penalised at every sample, nothing lazy."""

import numpy as np


class PlainLinear:
    def __init__(self, dim, loss, epsilon, alpha, has_intercept):
        self.loss, self.epsilon, self.alpha = loss, epsilon, alpha
        self.has_intercept = has_intercept
        self.theta, self.g_avg, self.g2_avg, self.h_avg, self.tau = np.zeros((5, dim + 1))
        self.square, self.count, self.rate = np.zeros((3, dim + 1))
        self.n, self.spread = 0, 0.0

    def learn(self, row, y):
        row = np.append(row, 1.0 if self.has_intercept else 0.0)
        for i, x in enumerate(row):
            if x != 0:
                before = self.square[i] / max(self.count[i], 1)
                is_grown = 0 < self.square[i] < x * x
                self.count[i] += 1
                self.square[i] += x * x
                if is_grown:
                    self.theta[i] *= np.sqrt(before / (self.square[i] / self.count[i]))
        scale = np.sqrt(self.square / np.maximum(self.count, 1))
        z = sum(x * self.theta[i] for i, x in enumerate(row))
        row_sum = sum(abs(x) / scale[i] for i, x in enumerate(row) if x != 0)
        self.n += 1
        self.spread += (abs(z - y) - self.spread) / self.n
        slope = self.loss.slope(z, y, self.epsilon)
        curv = self.loss.curvature(z, y, self.epsilon, self.spread)
        for i, x in enumerate(row):
            if x != 0 and (slope != 0 or self.tau[i] > 0):
                g, h = slope * x, curv * abs(x) * scale[i] * row_sum
                keep = 1 / self.tau[i] if self.tau[i] > 0 else 1.0
                self.g_avg[i] = (1 - keep) * self.g_avg[i] + keep * g
                self.g2_avg[i] = (1 - keep) * self.g2_avg[i] + keep * g * g
                if slope != 0:
                    self.h_avg[i] = (1 - keep) * self.h_avg[i] + keep * h
                ridge = 0.0 if i == row.size - 1 else self.alpha / (self.count[i] / self.n)
                signal = (self.g_avg[i] + ridge * self.theta[i]) ** 2
                rho = signal / (self.g2_avg[i] - self.g_avg[i] ** 2 + signal)
                self.tau[i] = (1 - rho) * self.tau[i] + 1 if self.tau[i] > 0 else 1.5
                self.rate[i] = np.sqrt(rho) / (self.h_avg[i] + ridge)
                if slope != 0:
                    self.rate[i] = min(self.rate[i], 1 / (h + ridge))
                self.theta[i] -= self.rate[i] * g
        for i in range(row.size - 1):
            self.theta[i] /= 1 + self.rate[i] * self.alpha
