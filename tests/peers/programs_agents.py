"""Programs in PyTorch's words: reinforcement learning updates on given transitions."""

# ruff: noqa: B905  (written as such programs are)

from __future__ import annotations

import copy
from collections import namedtuple

import numpy as np
from program_support import fill, integers, normal

Transition = namedtuple("Transition", ("state", "action", "next_state", "reward"))


def dqn(torch, nn, F):
    """A replay batch with final states, a target network that follows slowly, Huber loss, clipped gradients."""

    class DQN(nn.Module):
        def __init__(self, n_observations, n_actions):
            super().__init__()
            self.layer1 = nn.Linear(n_observations, 8)
            self.layer2 = nn.Linear(8, n_actions)

        def forward(self, x):
            return self.layer2(F.relu(self.layer1(x)))

    rng = np.random.default_rng(0)
    memory = []
    for i in range(12):
        state = torch.tensor(rng.normal(size=4).tolist(), dtype=torch.get_default_dtype()).unsqueeze(0)
        following = None if i % 5 == 4 else torch.tensor(rng.normal(size=4).tolist()).unsqueeze(0)
        memory.append(
            Transition(state, torch.tensor([[i % 3]], dtype=torch.long), following, torch.tensor([1.0 - i % 2]))
        )
    policy_net, target_net = fill(torch, DQN(4, 3)), DQN(4, 3)
    target_net.load_state_dict(policy_net.state_dict())
    optimizer = torch.optim.AdamW(policy_net.parameters(), lr=1e-2, amsgrad=True)
    losses = []
    for _ in range(4):
        batch = Transition(*zip(*memory))
        non_final_mask = torch.BoolTensor([s is not None for s in batch.next_state])
        non_final_next_states = torch.cat([s for s in batch.next_state if s is not None])
        state_batch, action_batch, reward_batch = (
            torch.cat(batch.state),
            torch.cat(batch.action),
            torch.cat(batch.reward),
        )
        state_action_values = policy_net(state_batch).gather(1, action_batch)
        next_state_values = torch.zeros(len(memory))
        with torch.no_grad():
            next_state_values[non_final_mask] = target_net(non_final_next_states).max(1).values
        expected = (next_state_values * 0.99) + reward_batch
        loss = nn.SmoothL1Loss()(state_action_values, expected.unsqueeze(1))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_value_(policy_net.parameters(), 0.1)
        optimizer.step()
        target_state, policy_state = target_net.state_dict(), policy_net.state_dict()
        for key in policy_state:
            target_state[key] = policy_state[key] * 0.05 + target_state[key] * (1 - 0.05)
        target_net.load_state_dict(target_state)
        losses.append(loss.item())
    with torch.no_grad():
        action = policy_net(memory[0].state).max(1).indices.view(1, 1).item()
    return losses, action, list(target_net.parameters())


def reinforce(torch, nn, F):
    """Policy gradient: discounted returns, standardised, log-probabilities gathered, an entropy bonus."""
    policy = fill(torch, nn.Sequential(nn.Linear(4, 16), nn.Dropout(p=0.0), nn.ReLU(), nn.Linear(16, 2)))
    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)
    eps = np.finfo(np.float32).eps.item()
    outcomes = []
    for episode in range(3):
        states, actions = normal(torch, 7, 4, seed=episode), integers(torch, 2, 7, seed=episode)
        rewards = [float(i % 3) for i in range(7)]
        returns, R = [], 0
        for r in rewards[::-1]:
            R = r + 0.99 * R
            returns.insert(0, R)
        returns = torch.tensor(returns)
        returns = (returns - returns.mean()) / (returns.std() + eps)
        log_probs = torch.log_softmax(policy(states), dim=-1)
        chosen = log_probs.gather(1, actions.unsqueeze(-1)).squeeze(-1)
        policy_loss = torch.stack([-log_prob * R for log_prob, R in zip(chosen, returns)]).sum()
        entropy = -(log_probs.exp() * log_probs).sum(-1).mean()
        optimizer.zero_grad()
        (policy_loss - 0.01 * entropy).backward()
        optimizer.step()
        outcomes.append([policy_loss.item(), entropy.item()])
    probs = policy(states).softmax(-1).detach().cpu().numpy()
    return outcomes, probs, list(policy.parameters())


def ppo(torch, nn, F):
    """The clipped objective: ratios, torch.min, generalised advantages, an orthogonal-free actor-critic."""

    class ActorCritic(nn.Module):
        def __init__(self):
            super().__init__()
            self.actor = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
            self.critic = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
            self.log_std = nn.Parameter(torch.zeros(1, 2))

        def evaluate(self, obs, act):
            mu = self.actor(obs)
            std = torch.exp(self.log_std).expand_as(mu)
            log_prob = -((act - mu) ** 2) / (2 * std**2) - std.log() - 0.5 * np.log(2 * np.pi)
            return log_prob.sum(1), self.critic(obs).squeeze(-1)

    model = fill(torch, ActorCritic())
    obs, act, rewards = normal(torch, 8, 4), normal(torch, 8, 2, seed=1), normal(torch, 8, seed=2)
    dones = torch.tensor([0, 0, 0, 1, 0, 0, 0, 1], dtype=torch.get_default_dtype())
    with torch.no_grad():
        old_log_prob, values = model.evaluate(obs, act)
        advantages, last = torch.zeros_like(rewards), 0
        for t in reversed(range(8)):
            following = values[t + 1] if t < 7 else torch.tensor(0.0)
            delta = rewards[t] + 0.99 * following * (1.0 - dones[t]) - values[t]
            advantages[t] = last = delta + 0.99 * 0.95 * (1.0 - dones[t]) * last
        returns = advantages + values
    optimizer = torch.optim.Adam(
        [{"params": model.actor.parameters(), "lr": 1e-2}, {"params": model.critic.parameters()}], lr=3e-2
    )
    optimizer.add_param_group({"params": [model.log_std], "lr": 1e-3})
    normalised = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
    history = []
    for _ in range(4):
        log_prob, value = model.evaluate(obs, act)
        ratio = (log_prob - old_log_prob).exp()
        surrogate = torch.min(ratio * normalised, torch.clamp(ratio, 0.8, 1.2) * normalised).mean()
        clipped = values + (value - values).clamp(-0.2, 0.2)
        value_loss = torch.max((value - returns).square(), (clipped - returns) ** 2).mean()
        loss = -surrogate + 0.5 * value_loss
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        approx_kl = ((ratio - 1) - (log_prob - old_log_prob)).mean().item()
        history.append([loss.item(), approx_kl, ((ratio - 1.0).abs() > 0.2).float().mean().item()])
    explained = 1 - (returns - values).var() / returns.var()
    return advantages, history, explained, list(model.parameters())


def soft_actor_critic(torch, nn, F):
    """Twin critics, squashed Gaussian actions with given noise, polyak averaging, a learned temperature."""

    def mlp(*sizes):
        layers = []
        for i in range(len(sizes) - 1):
            layers += [nn.Linear(sizes[i], sizes[i + 1]), nn.ReLU() if i < len(sizes) - 2 else nn.Identity()]
        return nn.Sequential(*layers)

    actor, q1, q2 = (fill(torch, net, s) for s, net in enumerate((mlp(3, 8, 4), mlp(5, 8, 1), mlp(5, 8, 1))))
    targets = copy.deepcopy(nn.ModuleList([q1, q2]))
    for p in targets.parameters():
        p.requires_grad = False
    log_alpha = torch.zeros(1, requires_grad=True)
    pi_optimizer = torch.optim.Adam(actor.parameters(), lr=1e-2)
    q_optimizer = torch.optim.Adam(list(q1.parameters()) + list(q2.parameters()), lr=1e-2)
    alpha_optimizer = torch.optim.Adam([log_alpha], lr=1e-2)

    def act(obs, noise):
        mu, log_std = actor(obs).chunk(2, dim=-1)
        log_std = torch.clamp(log_std, -20, 2)
        raw = mu + log_std.exp() * noise
        log_p = (-0.5 * noise.pow(2) - log_std).sum(-1) - (2 * (np.log(2) - raw - F.softplus(-2 * raw))).sum(dim=-1)
        return torch.tanh(raw), log_p

    history = []
    for step in range(3):
        obs, action, reward, following = (normal(torch, 6, n, seed=step + s) for s, n in enumerate((3, 2, 1, 3)))
        noise = normal(torch, 6, 2, seed=step + 9)
        alpha = log_alpha.exp().detach()
        with torch.no_grad():
            a2, logp2 = act(following, noise)
            pair = torch.cat([following, a2], dim=-1)
            backup = reward.squeeze(-1) + 0.9 * (torch.minimum(*(q(pair).squeeze(-1) for q in targets)) - alpha * logp2)
        q_loss = sum(((q(torch.cat([obs, action], -1)).squeeze(-1) - backup) ** 2).mean() for q in (q1, q2))
        q_optimizer.zero_grad()
        q_loss.backward()
        q_optimizer.step()
        for p in [*q1.parameters(), *q2.parameters()]:
            p.requires_grad_(False)
        pi, logp = act(obs, noise)
        pi_loss = (
            alpha * logp - torch.min(q1(torch.cat([obs, pi], -1)), q2(torch.cat([obs, pi], -1))).squeeze(-1)
        ).mean()
        pi_optimizer.zero_grad()
        pi_loss.backward()
        pi_optimizer.step()
        for p in [*q1.parameters(), *q2.parameters()]:
            p.requires_grad_(True)
        alpha_loss = -(log_alpha * (logp + 2).detach()).mean()
        alpha_optimizer.zero_grad()
        alpha_loss.backward()
        alpha_optimizer.step()
        with torch.no_grad():
            for p, p_targ in zip(nn.ModuleList([q1, q2]).parameters(), targets.parameters()):
                p_targ.data.mul_(0.995)
                p_targ.data.add_((1 - 0.995) * p.data)
        history.append([q_loss.item(), pi_loss.item(), log_alpha.item()])
    return history, list(actor.parameters()), list(targets.parameters())
