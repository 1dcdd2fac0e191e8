"""Programs in PyTorch's words: classifiers for rows and pictures, as tutorials write them."""

from __future__ import annotations

import copy
import io

from program_support import fill, integers, normal


def mlp_classifier(torch, nn, F):
    """Data set, loaders, a schedule, an epoch loop with accuracy."""
    DataLoader, TensorDataset = torch.utils.data.DataLoader, torch.utils.data.TensorDataset
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    data = TensorDataset(normal(torch, 50, 8), integers(torch, 3, 50))
    train, val = torch.utils.data.random_split(data, [40, 10], generator=torch.Generator().manual_seed(1))
    sizes = [len(train), len(val)]

    class MLP(nn.Module):
        def __init__(self, d_in, d_hidden, d_out):
            super().__init__()
            self.fc1 = nn.Linear(d_in, d_hidden)
            self.fc2 = nn.Linear(d_hidden, d_out)

        def forward(self, x):
            x = x.view(x.size(0), -1)
            return self.fc2(F.relu(self.fc1(x)))

    model = fill(torch, MLP(8, 16, 3)).to(device)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
    history = []
    for _epoch in range(5):
        model.train()
        running_loss, correct = 0.0, 0
        for inputs, labels in DataLoader(data, batch_size=16, shuffle=False, num_workers=0, pin_memory=False):
            inputs, labels = inputs.to(device), labels.to(device)
            optimizer.zero_grad()
            outputs = model(inputs)
            loss = criterion(outputs, labels)
            loss.backward()
            optimizer.step()
            running_loss += loss.item() * inputs.size(0)
            _, predicted = torch.max(outputs.data, 1)
            correct += (predicted == labels).sum().item()
        scheduler.step()
        history += [running_loss / len(data), correct / len(data), optimizer.param_groups[0]["lr"]]
    total = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return sizes, history, total, scheduler.get_last_lr(), list(model.parameters())


def lenet(torch, nn, F):
    """Convolutions, batch norm, dropout, train and eval, weights saved and loaded."""

    class LeNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(1, 4, kernel_size=3, padding=1)
            self.bn1 = nn.BatchNorm2d(4)
            self.conv2 = nn.Conv2d(4, 6, 3)
            self.dropout = nn.Dropout(0.5)
            self.fc = nn.Linear(6 * 2 * 2, 5)

        def forward(self, x):
            x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 2)
            x = F.avg_pool2d(torch.tanh(self.conv2(x)), kernel_size=2)
            x = torch.flatten(x, 1)
            x = self.dropout(x)
            return F.log_softmax(self.fc(x), dim=1)

    model = fill(torch, LeNet())
    x, y = normal(torch, 6, 1, 12, 12), integers(torch, 5, 6)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(3):
        model.train()
        model.dropout.p = 0.0
        optimizer.zero_grad(set_to_none=True)
        loss = F.nll_loss(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    model.dropout.p = 0.5
    noisy = model(x)
    model.eval()
    with torch.no_grad():
        out = model(x)
        pred = out.argmax(dim=1, keepdim=True)
        correct = pred.eq(y.view_as(pred)).sum().item()
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    again = LeNet()
    again.load_state_dict(torch.load(file, weights_only=True))
    again.eval()
    same = torch.allclose(again(x), out)
    keys = list(model.state_dict().keys())
    tracked = model.bn1.num_batches_tracked.item()
    return losses, out, correct, same, keys, bool((noisy != out).any()), model.bn1.running_mean, tracked


def residual_network(torch, nn, F):
    """Skip connections, an adaptive pool, kaiming_normal_ by isinstance, label smoothing, one-cycle schedule."""

    class BasicBlock(nn.Module):
        expansion = 1

        def __init__(self, in_planes, planes, stride=1):
            super().__init__()
            self.conv1 = nn.Conv2d(in_planes, planes, 3, stride=stride, padding=1, bias=False)
            self.bn1 = nn.BatchNorm2d(planes)
            self.conv2 = nn.Conv2d(planes, planes, 3, stride=1, padding=1, bias=False)
            self.bn2 = nn.BatchNorm2d(planes)
            self.relu = nn.ReLU(inplace=True)
            self.shortcut = nn.Sequential()
            if stride != 1 or in_planes != planes:
                self.shortcut = nn.Sequential(
                    nn.Conv2d(in_planes, planes, 1, stride=stride, bias=False), nn.BatchNorm2d(planes)
                )

        def forward(self, x):
            out = self.relu(self.bn1(self.conv1(x)))
            out = self.bn2(self.conv2(out))
            out += self.shortcut(x)
            return self.relu(out)

    class ResNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(3, 4, 3, padding=1, bias=False)
            self.layers = nn.ModuleList([BasicBlock(4, 4), BasicBlock(4, 8, stride=2)])
            self.pool = nn.AdaptiveAvgPool2d((1, 1))
            self.fc = nn.Linear(8, 4)
            for m in self.modules():
                if isinstance(m, nn.Conv2d):
                    nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
                elif isinstance(m, (nn.BatchNorm2d, nn.GroupNorm)):
                    nn.init.constant_(m.weight, 1)
                    nn.init.zeros_(m.bias)

        def forward(self, x):
            x = self.stem(x)
            for layer in self.layers:
                x = layer(x)
            return self.fc(self.pool(x).flatten(1))

    model = fill(torch, ResNet())
    x, y = normal(torch, 4, 3, 8, 8), integers(torch, 4, 4)
    criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=4)
    losses = []
    for _ in range(3):
        loss = criterion(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        losses.append(loss.detach())
    names = [name for name, _ in model.named_parameters()]
    return torch.stack(losses), names, [p.grad for p in model.parameters()], str(model)


def hooks_and_early_stopping(torch, nn, F):
    """Activation statistics by forward hooks, gradients by backward hooks, the best model by deepcopy."""
    model = fill(torch, nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 8), nn.GELU(), nn.Linear(8, 1)))
    activations, gradients = {}, {}

    def save(name):
        def hook(module, inputs, output):
            out = output.detach()
            activations[name] = (out.mean().item(), out.std().item(), (out == 0).float().mean().item())

        return hook

    def save_gradient(module, grad_input, grad_output):
        gradients[module.out_features] = grad_output[0].norm().item()

    handles = [m.register_forward_hook(save(name)) for name, m in model.named_modules() if name]
    handles += [m.register_full_backward_hook(save_gradient) for m in model if isinstance(m, nn.Linear)]
    x, y = normal(torch, 30, 5), normal(torch, 30, 1, seed=1)
    optimizer = torch.optim.RMSprop(model.parameters(), lr=0.01, alpha=0.9)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="min", factor=0.5, patience=1)
    best_loss, best_model, patience, curve = float("inf"), None, 0, []
    for _epoch in range(12):
        model.train()
        optimizer.zero_grad()
        F.mse_loss(model(x[:20]), y[:20]).backward()
        total_norm = torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
        optimizer.step()
        model.eval()
        with torch.inference_mode():
            val_loss = F.mse_loss(model(x[20:]), y[20:]).item()
        plateau.step(val_loss)
        curve += [val_loss, total_norm]
        if val_loss < best_loss:
            best_loss, best_model, patience = val_loss, copy.deepcopy(model), 0
        else:
            patience += 1
            if patience >= 3:
                break
    for handle in handles:
        handle.remove()
    seen = dict(activations)
    best_model(x)
    return curve, best_loss, list(seen.items()), sorted(gradients.items()), list(best_model.parameters())


def convolutional_autoencoder(torch, nn, F):
    """Transposed convolutions, upsampling, binary cross-entropy on pictures."""

    class AutoEncoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = nn.Sequential(
                nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.LeakyReLU(0.2, inplace=True), nn.Conv2d(4, 6, 3, 2, 1)
            )
            self.decoder = nn.Sequential(
                nn.ConvTranspose2d(6, 4, kernel_size=2, stride=2),
                nn.InstanceNorm2d(4),
                nn.ReLU(True),
                nn.Upsample(scale_factor=2, mode="nearest"),
                nn.ReflectionPad2d(1),
                nn.Conv2d(4, 1, 3),
            )

        def forward(self, x):
            return torch.sigmoid(self.decoder(self.encoder(x)))

    model = fill(torch, AutoEncoder())
    x = torch.sigmoid(normal(torch, 3, 1, 8, 8))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(3):
        loss = F.binary_cross_entropy(model(x), x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    bigger = F.interpolate(x, size=(12, 16), mode="bilinear", align_corners=False)
    return losses, bigger, list(model.parameters())
