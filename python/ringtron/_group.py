"""Process groups as the operators name them."""
import torch.distributed as dist


def group_of(group):
    """The ProcessGroup that `group` is: a ProcessGroup, a DeviceMesh of one dimension, or None for all ranks."""
    if group is None:
        if not dist.is_available() or not dist.is_initialized():
            raise ValueError("ringtron: expected a process group, got none: call torch.distributed.init_process_group() first")
        return dist.group.WORLD
    if isinstance(group, dist.DeviceMesh):
        return group.get_group()
    if not isinstance(group, dist.ProcessGroup):
        raise ValueError(f"ringtron: expected a process group of which this rank is a member, got {group!r}")
    return group


def group_name_of(group):
    """Its name; a name stays as it is."""
    return group if isinstance(group, str) else group_of(group).group_name
