#include "metarm/model/recompute.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/custom_class.h>

#include <utility>

namespace metarm {

namespace {

using Layer = std::function<at::Tensor(const at::Tensor&)>;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct LayerHolder : torch::CustomClassHolder {
  explicit LayerHolder(Layer layer) : function(std::move(layer)) {}
  Layer function;
};

struct Recompute : torch::autograd::Function<Recompute> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& input, const c10::intrusive_ptr<LayerHolder>& layer) {
    context->save_for_backward({input});
    context->saved_data["layer"] = c10::IValue::make_capsule(layer);
    const at::NoGradGuard no_grad;
    return layer->function(input);
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto layer = c10::static_intrusive_pointer_cast<LayerHolder>(context->saved_data["layer"].toCapsule());
    const at::AutoGradMode with_grad(true);
    const at::Tensor input = context->get_saved_variables()[0].detach().requires_grad_();
    torch::autograd::backward({layer->function(input)}, {gradients[0]});
    return {input.grad(), at::Tensor()};
  }
};

}  // namespace

at::Tensor recompute(const Layer& function, const at::Tensor& input) {
  // With frozen embeddings the first input needs no gradient, but what the function captures does.
  const at::Tensor tracked = input.requires_grad() ? input : input.detach().requires_grad_();
  return Recompute::apply(tracked, c10::make_intrusive<LayerHolder>(function));
}

}  // namespace metarm
