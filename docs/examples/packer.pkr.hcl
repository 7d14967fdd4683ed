# An image with driver, CUDA, cuDNN and Conda, made on an instance with the GPU that the image is for.
packer {
  required_plugins {
    oracle = {
      source  = "github.com/hashicorp/oracle"
      version = ">= 1.0.5"
    }
    ansible = {
      source  = "github.com/hashicorp/ansible"
      version = ">= 1.1.3"
    }
  }
}

variable "availability_domain" { type = string }
variable "base_image_ocid" { type = string }
variable "compartment_ocid" { type = string }
variable "subnet_ocid" { type = string }

source "oracle-oci" "gpu" {
  availability_domain = var.availability_domain
  base_image_ocid     = var.base_image_ocid
  compartment_ocid    = var.compartment_ocid
  subnet_ocid         = var.subnet_ocid
  shape               = "VM.GPU.A10.1"
  image_name          = "gpu-{{timestamp}}"
  ssh_username        = "debian"
}

build {
  sources = ["source.oracle-oci.gpu"]

  provisioner "ansible" {
    command          = "ansible-playbook"
    playbook_file    = "apply.yml" # import_playbook: gpuprep.core.apply, from a collection in ./collections
    user             = "debian"
    use_proxy        = false
    extra_arguments  = ["--become", "--extra-vars", "gpu_driver_reboot_allowed=true"]
    ansible_env_vars = ["ANSIBLE_COLLECTIONS_PATH=collections"]
  }
}
